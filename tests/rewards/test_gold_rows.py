"""Real data: every gold earns 1 when it is the answer, and 0 when a digit of it is changed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from rewards import Grade
from rewards.math_accuracy import grade_accuracies

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def rows(name: str) -> list[dict[str, str]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there: this test reads real golds")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def gsm8k_golds() -> list[str]:
    answers = [row["answer"] for row in rows("gsm8k/train.jsonl.gz")]
    return [answer.rpartition("#### ")[2].strip() for answer in answers]


def math_golds() -> list[str]:
    """The 2,400 or so different golds of MATH that are no plain integers, every fourth of them."""
    answers = [row["answer"] for row in rows("math_train/train.jsonl.gz")]
    unusual = [gold for gold in answers if gold and not gold.lstrip("-").isdigit()]
    return list(dict.fromkeys(unusual))[::4]


def with_another_digit(gold: str) -> str | None:
    """The first digit one higher (9 becomes 1); None where there is no digit."""
    for position, mark in enumerate(gold):
        if mark in "0123456789":
            other = str((int(mark) + 1) % 10 or 1)
            return gold[:position] + other + gold[position + 1 :]
    return None


def grade(golds: Sequence[str], answers: Sequence[str], form: str) -> list[Grade]:
    texts = [f"<think>x</think><answer>{form.replace('@', answer)}</answer>" for answer in answers]
    return grade_accuracies(texts, golds, [False] * len(texts))


@pytest.mark.parametrize("form", [r"\boxed{@}", "@", "The answer is @.", r"$$\boxed{@}$$"])
def test_every_gold_of_gsm8k_earns_one(form: str) -> None:
    golds = gsm8k_golds()
    assert len(golds) == 7473
    assert {grade.value for grade in grade(golds, golds, form)} == {1.0}


@pytest.mark.parametrize("form", [r"\boxed{@}", "@", r"\boxed{-@}", r"\boxed{@.5}", r"\boxed{@ 1}"])
def test_a_changed_gold_of_gsm8k_earns_nothing(form: str) -> None:
    golds = [gold for gold in gsm8k_golds() if gold != "0"]
    changed = [str(int(gold.replace(",", "")) + 1) for gold in golds]
    answers = changed if form in (r"\boxed{@}", "@") else golds
    assert {grade.value for grade in grade(golds, answers, form)} == {0.0}


@pytest.mark.parametrize("form", [r"\boxed{@}", "@", r"The answer is $@$.", r"\boxed{\,@ }"])
def test_golds_of_math_earn_one(form: str) -> None:
    golds = math_golds()
    assert len(golds) > 400
    results = zip(golds, grade(golds, golds, form), strict=True)
    assert [(gold, result) for gold, result in results if result.value != 1.0] == []


def test_golds_of_math_written_otherwise_earn_one() -> None:
    golds = [gold for gold in math_golds() if r"\frac" in gold or r"\sqrt" in gold]
    answers = [
        gold.replace(r"\frac", r"\dfrac").replace(r"\left", "").replace(r"\right", "")
        for gold in golds
    ]
    results = zip(golds, grade(golds, answers, r"\boxed{ @ }"), strict=True)
    assert [(gold, result) for gold, result in results if result.value != 1.0] == []


def test_changed_golds_of_math_earn_nothing() -> None:
    pairs = [(gold, with_another_digit(gold)) for gold in math_golds()]
    changed = [(gold, answer) for gold, answer in pairs if answer is not None]
    golds, answers = [gold for gold, _ in changed], [answer for _, answer in changed]
    results = zip(golds, answers, grade(golds, answers, r"\boxed{@}"), strict=True)
    assert [result for result in results if result[2].value != 0.0] == []


def svamp_golds() -> list[str]:
    return [str(row["Answer"]) for row in rows("svamp/svamp.jsonl.gz")]


def cmath_golds() -> list[str]:
    return [str(row["golden"]) for row in rows("cmath/train_400.jsonl.gz")]


@pytest.mark.parametrize("golds_of", [svamp_golds, cmath_golds])
def test_golds_of_word_problems_earn_one_and_changed_ones_nothing(
    golds_of: Callable[[], list[str]],
) -> None:
    golds = golds_of()
    assert len(golds) >= 400
    for form in (r"\boxed{@}", "@", "答案是@。"):
        results = zip(golds, grade(golds, golds, form), strict=True)
        assert [(gold, result) for gold, result in results if result.value != 1.0] == []
    changed = [str(Fraction(gold) + 1) for gold in golds]
    others = [golds[(i + 1) % len(golds)] for i in range(len(golds))]
    for answers in (changed, others, [f"-{gold}" for gold in golds]):
        pairs = [(g, a) for g, a in zip(golds, answers, strict=True) if Fraction(g) != Fraction(a)]
        graded = grade([g for g, _ in pairs], [a for _, a in pairs], r"\boxed{@}")
        wrong = [(pair, g) for pair, g in zip(pairs, graded, strict=True) if g.value != 0.0]
        assert wrong == []
