"""The tables and examples of docs/rewards.md are run."""

from __future__ import annotations

import doctest
import itertools
import re
from fractions import Fraction
from pathlib import Path

import pytest

from rewards import (
    Outcome,
    grade_accuracy,
    grade_choice,
    grade_exact,
    grade_json,
    grade_language,
    grade_regex,
)
from rewards.base import REGISTERED
from rewards.shaping.language import LANGUAGES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rewards.md"
TEXT = PAGE.read_text(encoding="utf-8")


def table(first: str, *others: str) -> list[list[str]]:
    """The rows of the table with this head, cell by cell."""
    head = "| " + " | ".join([first, *others]) + " |"
    lines = TEXT.partition(f"\n{head}\n")[2].splitlines()[1:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    cells = [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]
    assert cells, head
    return cells


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def examples(head: tuple[str, ...], right: int, wrong: int) -> list[tuple[list[str], str, float]]:
    """Row, text and value of each example in two of the columns."""
    return [
        (row, text, value)
        for row in table(*head)
        for column, value in ((right, 1.0), (wrong, 0.0))
        for text in code(row[column])
    ]


def test_all_outcomes_are_described() -> None:
    assert {code(row[0])[0] for row in table("outcome", "value", "when")} == set(Outcome)


def test_the_overview_agrees_with_the_registry() -> None:
    rows = {code(row[0])[0]: row for row in table("name", "columns", "options", "least", "most")}
    assert list(rows) and set(rows) == set(REGISTERED)
    for name, reward in REGISTERED.items():
        _, columns, options, least, most = rows[name]
        assert tuple(code(columns)) == reward.required_columns, name
        assert set(code(options)) == set(reward.options or ()), name
        assert (float(least), float(most)) == reward.value_range, name


@pytest.mark.parametrize(
    ("completion", "outcome"), [row[:2] for row in table("completion", "outcome")]
)
def test_where_the_answer_is_read(completion: str, outcome: str) -> None:
    assert grade_accuracy(code(completion)[0], "42").outcome == code(outcome)[0]


@pytest.mark.parametrize(
    ("row", "text", "value"),
    examples(("gold", "right in `<answer>`", "wrong in `<answer>`"), 1, 2),
)
def test_plain_text_states_an_answer_or_does_not(row: list[str], text: str, value: float) -> None:
    grade = grade_accuracy(f"<answer>{text}</answer>", code(row[0])[0])
    assert grade.value == value, (text, grade.reason)


@pytest.mark.parametrize(
    ("row", "text", "value"), examples(("gold", "right", "wrong", "because"), 1, 2)
)
def test_what_equals_what(row: list[str], text: str, value: float) -> None:
    grade = grade_accuracy(rf"\boxed{{{text}}}", code(row[0])[0])
    assert grade.value == value, (row[0], text, grade.reason)


@pytest.mark.parametrize(
    ("row", "text", "value"), examples(("reward", "gold", "right", "wrong"), 2, 3)
)
def test_verifiers(row: list[str], text: str, value: float) -> None:
    name, gold = code(row[0])[0], code(row[1])[0]
    functions = {
        "multiple_choice": grade_choice,
        "exact_match": grade_exact,
        "regex_match": grade_regex,
        "json_schema": grade_json,
    }
    grade = functions[name](f"<think>x</think>{text}", gold)
    assert grade.value == value, (row, text, grade.reason)


def test_all_languages_are_described() -> None:
    described = [
        code for row in table("code", "counts") for code in re.findall(r"`([^`]+)`", row[0])
    ]
    assert sorted(described) == list(LANGUAGES)


@pytest.mark.parametrize(
    ("thought", "language", "value"),
    [row[:3] for row in table("thought", "code", "value", "because")],
)
def test_shares_of_a_language(thought: str, language: str, value: str) -> None:
    grade = grade_language(f"<think>{code(thought)[0]}</think>", code(language)[0])
    assert grade.value == pytest.approx(float(Fraction(value))), grade.reason


def test_python_examples_give_the_printed_results() -> None:
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(blocks, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) >= 10
    assert doctest.DocTestRunner().run(test).failed == 0
