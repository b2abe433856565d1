"""Answers that hang a parser are graded within the deadlines, from any kind of caller."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from rewards import accuracy, grade_accuracy

pytestmark = pytest.mark.slow  # deadlines pass

MONSTERS = [
    r"2^{2^{100}}",
    r"10^{10^{10}}",
    r"\dfrac{5^{(5^{(5^{(5^5)})}-4)}-5}{16}",
    "2^2^100",
    "9**9**9**9",
    r"(10^9)!",
    r"((10!)!)!",
    r"\binom{10^9}{5\cdot10^8}",
    r"\sum_{i=1}^{1000000} i^i",
    r"\int_0^1 \frac{\sin(x^5)}{\sqrt{1+\cos(e^x)}} dx",
    r"(a+b+c+d)^{60}+\sin(a^{60})",
    "".join(r"1+\frac{1}{" for _ in range(30)) + "1" + "}" * 30,
    "{" * 900 + "1" + "}" * 900,
    ",".join(rf"\sqrt{{{i}}}" for i in range(2, 200)),
    r"\( x " * 300,
]


@pytest.mark.parametrize("answer", MONSTERS, ids=range(len(MONSTERS)))
def test_a_monstrous_answer_earns_nothing_and_soon(answer: str) -> None:
    started = time.monotonic()
    grade = grade_accuracy(rf"\boxed{{{answer}}}", r"1+\sqrt{2}")
    assert grade.value == 0.0, grade
    assert time.monotonic() - started < 10


def in_main_thread(call: Callable[[], list[float | None]]) -> list[float | None]:
    return call()


def in_a_thread(call: Callable[[], list[float | None]]) -> list[float | None]:
    values: list[float | None] = []
    thread = threading.Thread(target=lambda: values.extend(call()))
    thread.start()
    thread.join()
    return values


def in_asyncio(call: Callable[[], list[float | None]]) -> list[float | None]:
    async def main() -> list[float | None]:
        return call()

    return asyncio.run(main())


@pytest.mark.parametrize("caller", [in_main_thread, in_a_thread, in_asyncio])
def test_right_answers_beside_monsters_are_still_right(
    caller: Callable[[Callable[[], list[float | None]]], list[float | None]],
) -> None:
    few = [MONSTERS[0], MONSTERS[6], MONSTERS[13]]
    texts = [r"\boxed{\sqrt{2}+1}", *(rf"\boxed{{{answer}}}" for answer in few)]
    golds = [rf"1+\sqrt{{2}}+0\cdot {id(caller) % 1000}"] * len(texts)
    assert caller(lambda: accuracy(texts, golds)) == [1.0] + [0.0] * len(few)
