"""Real data: every gold earns 1 as the answer, and 0 when it is altered.

Of the different golds of MATH every third is taken; ALL_GOLDS=1 in the environment takes all.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from rewards import Grade, Outcome
from rewards.math.math_accuracy import grade_accuracies

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
    """The distinct golds of MATH, every third or all; four of its 7,474 rows have none."""
    answers = [row["answer"] for row in rows("math_train/train.jsonl.gz")]
    different = list(dict.fromkeys(gold for gold in answers if gold))
    assert len(answers) == 7474
    return different if os.environ.get("ALL_GOLDS") else different[::3]


def with_first_digit_changed(gold: str) -> str:
    """Raise the first digit by one (9 becomes 1); keep a text without digits."""
    return _with_digit_changed(gold, range(len(gold)))


def with_last_digit_changed(gold: str) -> str:
    return _with_digit_changed(gold, reversed(range(len(gold))))


def _with_digit_changed(gold: str, positions: Iterable[int]) -> str:
    position = next((place for place in positions if gold[place] in "0123456789"), None)
    if position is None:
        return gold
    other = str((int(gold[position]) + 1) % 10 or 1)
    return gold[:position] + other + gold[position + 1 :]


def with_sign_changed(gold: str) -> str:
    """Change the sign; keep a gold that starts with 0, which has none."""
    if gold.startswith("0"):
        return gold
    return gold[1:] if gold.startswith("-") else f"-{gold}"


def one_higher(gold: str) -> str:
    """Append "+1", except to a choice: "(B)+1" is B with a remark."""
    return gold if re.search(r"\\text\{ ?\(?[A-H]\)? ?\}", gold) else f"{gold}+1"


# Altered golds that are still right.
STILL_RIGHT = {
    (r"\$\dfrac23 \approx \$0.67", r"\$\dfrac23 \approx \$0.68"): "the exact value comes first",
    (r"\$\dfrac23 \approx \$0.67", r"\$\dfrac23 \approx \$0.67+1"): "the exact value comes first",
}


def are_one_value(gold: str, answer: str) -> bool:
    r"""Whether both are 45^\circ and \frac{\pi}{4}, or differ only in spaces."""
    is_angle = "circ" in gold + answer and "pi" in gold + answer
    return is_angle or gold.replace(" ", "") == answer.replace(" ", "")


def grade(golds: Sequence[str], answers: Sequence[str], form: str) -> list[Grade]:
    """Grade again the rows whose control row was late too, as on a busy machine."""
    texts = [f"<think>x</think><answer>{form.replace('@', answer)}</answer>" for answer in answers]
    grades = grade_accuracies(texts, golds, [False] * len(texts))
    for _ in range(3):
        late = [place for place, found in enumerate(grades) if found.outcome is Outcome.ERROR]
        again = grade_accuracies(
            [texts[i] for i in late], [golds[i] for i in late], [False] * len(late)
        )
        for place, found in zip(late, again, strict=True):
            grades[place] = found
    return grades


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
    assert len(golds) > 900
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


@pytest.mark.parametrize(
    "altered", [with_first_digit_changed, with_last_digit_changed, with_sign_changed, one_higher]
)
def test_altered_golds_of_math_earn_nothing(altered: Callable[[str], str]) -> None:
    pairs = [(gold, altered(gold)) for gold in math_golds()]
    check_wrong([pair for pair in pairs if pair[0] != pair[1] and pair not in STILL_RIGHT])


@pytest.mark.parametrize("distance", [1, 7])
def test_the_answers_of_other_rows_of_math_earn_nothing(distance: int) -> None:
    golds = math_golds()
    pairs = zip(golds, golds[distance:] + golds[:distance], strict=True)
    check_wrong([pair for pair in pairs if not are_one_value(*pair)])


def check_wrong(pairs: Sequence[tuple[str, str]]) -> None:
    golds, answers = [gold for gold, _ in pairs], [answer for _, answer in pairs]
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
