"""Countdown: a table of answers with their values, and hostile text."""

from __future__ import annotations

import gzip
import json
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import Outcome
from rewards.verifiers.countdown_eval import (
    MAX_CHARS,
    countdown,
    evaluate_expression,
    grade_countdown,
)

NUMBERS = [13, 58, 2, 88]
TARGET = 72  # 13 + 88 - 58 / 2
STORED = Path(__file__).parents[2].parent / "shared/data/countdown/sample_500.jsonl.gz"


def answered(expression: str) -> str:
    return f"<think>Let me see.</think>\n<answer>{expression}</answer>"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("13 + 88 - 58 / 2", 1.0),
        ("((13 + 88) - (58 / 2))", 1.0),
        ("13+88-58/2 = 72", 1.0),
        ("72 = 13+88-58/2", 1.0),
        (r"\boxed{13 + 88 - 58 \div 2}", 1.0),
        (r"$13 + 88 - 58 \div 2$.", 1.0),
        ("13 + 88 \N{MINUS SIGN} 58 \N{DIVISION SIGN} 2", 1.0),
        ("13 + 88 - 58 / 2 = 71", 0.0),
        ("13 + 88 - 58 / 2 = 72 = 72", 0.0),
        ("13 + 88 - 58", 0.0),  # 2 is missing
        ("13 + 88 - 58 / 2 + 2 - 2", 0.0),  # 2 three times
        ("13 + 58 + 2 - 88", 0.0),  # -15
        ("72", 0.0),
        ("-(58 / 2) + 88 + 13", 0.0),  # a sign is not an operation
        ("58 // 2", 0.0),
        ("88 ** 13 ** 58 ** 2", 0.0),
        ("13.0 + 88 - 58 / 2", 0.0),
        ("1_3 + 88 - 58 / 2", 0.0),
        ("__import__('os').getpid()", 0.0),
        ("13 + 88 - 58 / 2, 72", 0.0),
        ("", 0.0),
    ],
)
def test_an_expression_earns_its_value(expression: str, value: float) -> None:
    assert countdown([answered(expression)], [NUMBERS], [TARGET]) == [value]


def test_a_number_given_twice_must_be_used_twice() -> None:
    assert countdown([answered("5 + 5 - 3")] * 2, [[5, 5, 3], [5, 3]], [7, 7]) == [1.0, 0.0]


def test_a_third_is_exact() -> None:
    assert countdown([answered("(1 / 3) * 6")], [[1, 3, 6]], [2]) == [1.0]
    assert evaluate_expression("1 / 3") == (Fraction(1, 3), [1, 3])


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("<think>13 + 88 - 58 / 2", Outcome.TRUNCATED),
        ("13 + 88 - 58 / 2", Outcome.NO_ANSWER),
        (answered(""), Outcome.NO_ANSWER),
        (answered("13 / (2 - 2)"), Outcome.WRONG),
        (answered("13 + 88 - 58 / 2"), Outcome.CORRECT),
    ],
)
def test_the_outcome_says_why(completion: str, outcome: Outcome) -> None:
    assert grade_countdown(completion, numbers=NUMBERS, target=TARGET).outcome is outcome


def test_a_thought_that_the_prompt_opened_must_be_closed() -> None:
    solution = "<answer>13 + 88 - 58 / 2</answer>"
    completions = [solution, f"So.</think>{solution}"]
    numbers, targets = [NUMBERS] * 2, [TARGET] * 2
    assert countdown(completions, numbers, targets, think_prefilled=True) == [0.0, 1.0]
    assert countdown(completions, numbers, targets, prompts=["Go. <think>\n"] * 2) == [0.0, 1.0]
    assert countdown(completions, numbers, targets) == [1.0, 1.0]


def test_messages_are_read_as_texts_are() -> None:
    message = [{"role": "assistant", "content": answered("13 + 88 - 58 / 2")}]
    assert countdown([message], [NUMBERS], [TARGET]) == [1.0]


@pytest.mark.parametrize(
    ("numbers", "target"), [([1, 2.5], 3), ([], 3), ([1, True], 2), ([1, 2], None), (None, 3)]
)
def test_a_row_without_integers_is_ungradable_and_never_a_silent_zero(
    numbers: object, target: object
) -> None:
    grade = grade_countdown(answered("1 + 2"), numbers=numbers, target=target)  # type: ignore[arg-type]
    assert (grade.value, grade.outcome) == (None, Outcome.UNGRADABLE_GOLD)


@pytest.mark.parametrize(
    "expression",
    [
        "-" * MAX_CHARS + "1",
        "(" * MAX_CHARS,
        "(" * 100_000 + "1" + ")" * 100_000,
        "1" + "+1" * 50_000,
        "1" + "+1" * (MAX_CHARS // 2 - 1),
        "9" * 5000,
        "*".join(["9" * 12] * 38),
        "1(2)(3)",
        "\x00",
        "\N{ARABIC-INDIC DIGIT ONE} + 2",
    ],
)
def test_hostile_text_is_wrong_and_fast(expression: str) -> None:
    start = time.process_time()
    assert countdown([answered(expression)], [[1, 2]], [3]) == [0.0]
    assert time.process_time() - start < 1.0


@given(st.text(alphabet="0123456789+-*/() =.$\\_", max_size=120))
def test_no_text_raises(text: str) -> None:
    assert countdown([answered(text)], [[1, 2]], [3])[0] in (0.0, 1.0)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        countdown([answered("1 + 2")] * 2, [[1, 2]], [3, 3])


@pytest.mark.skipif(not STORED.is_file(), reason=f"{STORED} is not here")
def test_each_stored_solution_earns_1_and_with_another_target_0() -> None:
    rows = [json.loads(line) for line in gzip.decompress(STORED.read_bytes()).splitlines()]
    completions = [answered(rf"\boxed{{{row['solution']}}}") for row in rows]
    numbers = [row["nums"] for row in rows]
    assert countdown(completions, numbers, [row["target"] for row in rows]) == [1.0] * 500
    assert countdown(completions, numbers, [row["target"] + 1 for row in rows]) == [0.0] * 500
