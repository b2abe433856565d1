"""Right and wrong answers by the verdict of a mathematician: one gold per line.

mathematician.jsonl holds school, contest and physics answers in English and Chinese, with wrong
answers that are close to the right ones. To add a case, add a line or a word to a line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewards import grade_accuracy
from rewards.math.math_accuracy import grade_accuracies

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("mathematician.jsonl").read_text("utf-8").splitlines()
]


def test_there_are_many_cases_without_repeats() -> None:
    cases = [(row["gold"], answer) for row in ROWS for answer in row["right"] + row["wrong"]]
    assert len(cases) == len(set(cases)) > 2000
    assert len({row["gold"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["gold"])
def test_verdicts_are_those_of_a_mathematician(row: dict[str, Any]) -> None:
    answers = row["right"] + row["wrong"]
    boxed = [rf"\boxed{{{answer}}}" for answer in answers]
    grades = grade_accuracies(boxed, [row["gold"]] * len(answers), [False] * len(answers))
    expected = [1.0] * len(row["right"]) + [0.0] * len(row["wrong"])
    found = zip(answers, grades, expected, strict=True)
    assert [(answer, grade) for answer, grade, value in found if grade.value != value] == []


PLAIN = [
    ("(-\\infty,-1)\\cup(1,\\infty)", "x < -1 or x > 1", 1.0),
    ("(-\\infty,-1)\\cup(1,\\infty)", "The answer is $x<-1$ or $x>1$.", 0.0),  # two statements
    ("3:30 p.m.", "The answer is 3:30 p.m.", 1.0),
    ("3:30 p.m.", "3:30 a.m. or 3:30 p.m.", 0.0),
    ("42", "m+n = 42", 1.0),
    ("42", "The final answer is m+n=42.", 1.0),
    ("42", "m+n=42 or 43", 0.0),
    ("\\emptyset", "There is no solution.", 1.0),
    ("\\emptyset", "There is one solution.", 0.0),
    ("Yes", "Yes.", 1.0),
    ("Yes", "Yes or no.", 0.0),
    ("Yes", "Not yes.", 0.0),
    ("12元", "答案是12元。", 1.0),
    ("12元", "答案是12个。", 0.0),
    ("1200", "1 or 200", 0.0),
    ("B", "(A) or (B)", 0.0),
    ("B", "The answer is (B).", 1.0),
    ("B", "(B) is wrong", 0.0),
]


@pytest.mark.parametrize(("gold", "text", "value"), PLAIN)
def test_plain_text_is_read_as_strictly(gold: str, text: str, value: float) -> None:
    grade = grade_accuracy(f"<think>x</think><answer>{text}</answer>", gold)
    assert grade.value == value, grade.reason


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("1200", r"\boxed{1} and \boxed{200}"),
        ("1200", r"\boxed{1}, \boxed{200}"),
        ("B", r"\boxed{A} or \boxed{B}"),
        ("42", r"\boxed{42} or \boxed{m+n=43}"),
        (r"\emptyset", r"\boxed{\text{none}} or \boxed{0}"),
    ],
)
def test_several_boxes_stay_a_hedge(gold: str, text: str) -> None:
    assert grade_accuracy(text, gold).value == 0.0
