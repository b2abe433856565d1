# ruff: noqa: E501, RUF001 - full-width and Chinese punctuation is meant
"""Verifiers beside accuracy: choices, exact text, patterns, JSON. Tables from text to value."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import shutdown
from rewards.verifiers import matches
from rewards.verifiers.choices import grade_choice, multiple_choice
from rewards.verifiers.matches import (
    exact_match,
    grade_exact,
    grade_json,
    grade_regex,
    json_schema,
    regex_match,
)


@pytest.fixture(scope="module", autouse=True)
def children() -> Iterator[None]:
    yield
    shutdown()


CHOSEN = [
    *(("B", form) for form in ("B", "b", "(B)", "B.", "B)", "**B**", "$B$", "Ｂ", "（Ｂ）", "Ⓑ", "[B]")),
    *(("B", form) for form in (r"\text{B}", r"\textbf{(B)}", r"$\boxed{B}$", r"\boxed{\text{(B)}}")),
    *(("B", form) for form in ("B. 42", "B. No", "(B) 42", "B: the second", "Option B", "choice B", "B。")),
    *(("B", form) for form in ("The answer is B.", "The correct answer is (B).", "Answer: B")),
    *(("B", form) for form in ("答案是B", "答案：B。", "选B", "选项B", "B选项", "B项", "所以答案为 B", "应选B")),
    *(("(B)", "B"), (" b ", "B"), ("B.", "(B)"), ("Ｂ", "B")),
    *(("AC", form) for form in ("AC", "CA", "A, C", "A and C", "A、C", "(A)(C)", "A和C", "A & C")),
]  # fmt: skip

NOT_CHOSEN = [
    *(
        ("B", form)
        for form in ("A", "A or B", "A and B", "AB", "B or A", "not B", "B or not", "42")
    ),
    *(("B", form) for form in ("BB8", "Bob", "B. or A", "b c", "A B C D", "B, C", "不选B", "K")),
    *(("B", form) for form in ("B?", "B" * 1000, "B" * 100_000, r"\boxed{}", "A. B", "maybe B")),
    *(("AC", form) for form in ("A", "C", "ABC", "A or C")),
]


@pytest.mark.parametrize(("gold", "form"), CHOSEN)
def test_a_choice_is_read_however_it_is_written(gold: str, form: str) -> None:
    grade = grade_choice(f"<think>A?</think><answer>{form}</answer>", gold)
    assert (grade.value, grade.outcome) == (1.0, "correct"), grade.reason


@pytest.mark.parametrize(("gold", "form"), NOT_CHOSEN)
def test_another_choice_or_a_hedge_earns_nothing(gold: str, form: str) -> None:
    grade = grade_choice(f"<think>{gold}</think><answer>{form}</answer>", gold)
    assert (grade.value, grade.outcome) == (0.0, "wrong"), grade.reason


@pytest.mark.parametrize(
    ("text", "value", "outcome"),
    [
        ("<think>A</think>B", 1.0, "correct"),
        (r"<think>A</think>A is too small. \boxed{B}", 1.0, "correct"),
        (r"<think>A</think><answer>\boxed{A}, no, \boxed{B}</answer>", 1.0, "correct"),
        (r"\boxed{A} or \boxed{B}", 0.0, "wrong"),
        ("A is too small, C too large. So the answer is (B).", 1.0, "correct"),
        ("The answer is **B**, since A is too small.", 1.0, "correct"),
        ("因为A太小，所以选B。", 1.0, "correct"),
        ("The answer is A. No: the answer is B.", 0.0, "no_answer"),
        ("The answer is B. No: the answer is A.", 0.0, "no_answer"),
        ("<answer>B. Wait, A</answer>", 0.0, "wrong"),
        ("I don't think the answer is B.", 0.0, "no_answer"),
        ("The answer is B or C.", 0.0, "no_answer"),
        ("The answer is Bob.", 0.0, "no_answer"),
        ("Some say A, some say B.", 0.0, "no_answer"),
        ("<think>A</think>", 0.0, "no_answer"),
        ("<think>B", 0.0, "truncated"),
        ("", 0.0, "no_answer"),
    ],
)
def test_where_a_choice_is_read(text: str, value: float, outcome: str) -> None:
    grade = grade_choice(text, "B")
    assert (grade.value, grade.outcome) == (value, outcome), grade.reason


@pytest.mark.parametrize("gold", [None, "", "42", "K", 1, True, ["B"], "A or B"])
def test_a_gold_that_is_no_letter_is_never_a_silent_zero(gold: object) -> None:
    assert grade_choice("B", gold).outcome == "ungradable_gold"
    assert multiple_choice(["B"], [gold]) == [None]


EXACT = [
    ("Paris", "<answer>Paris</answer>", 1.0),
    ("Paris", "<think>Rome</think> Paris\n", 1.0),
    ("Paris", r"It is \boxed{Paris}.", 1.0),
    (" Paris ", "Paris", 1.0),
    ("北京", "<answer>北京</answer>", 1.0),
    ("Paris", "<answer>paris</answer>", 0.0),
    ("Paris", "<answer>Paris.</answer>", 0.0),
    ("0.5", "1/2", 0.0),
    ("Paris", "<think>Paris</think>", 0.0),
    ("Paris", "<think>Paris", 0.0),
    ("Paris", "", 0.0),
]


@pytest.mark.parametrize(("gold", "text", "value"), EXACT)
def test_exact_match_compares_text(gold: str, text: str, value: float) -> None:
    assert exact_match([text], [gold]) == [value]


def test_exact_match_can_ignore_case_and_says_what_is_no_gold() -> None:
    assert exact_match(["<answer>STRASSE</answer>"], ["Straße"], ignore_case=True) == [1.0]
    assert grade_exact("<think>a</think>", "b").outcome == "no_answer"
    assert [grade_exact("5", gold).outcome for gold in (5, "", None)] == ["ungradable_gold"] * 3


REGEX = [
    (r"\d{4}-\d\d-\d\d", "<answer>2024-02-29</answer>", 1.0, "correct"),
    (r"\d{4}-\d\d-\d\d", "<answer>on 2024-02-29</answer>", 0.0, "wrong"),
    (r"(?i)yes|no", r"\boxed{YES}", 1.0, "correct"),
    (r".*\bwin\b.*", "<think>x</think>they win it", 1.0, "correct"),
    (r"a.b", "a\nb", 0.0, "wrong"),
    (r"(?s)a.b", "a\nb", 1.0, "correct"),
    (r"[一-龥]+", "北京", 1.0, "correct"),
    (r".", "\ud800", 1.0, "correct"),
    (r".*", "<think>x</think>", 0.0, "no_answer"),
    (r".*", "<think>x", 0.0, "truncated"),
    (r"a*", "b" * 30_000, 0.0, "wrong"),
    (r"(a+)+", "a" * 40 + "b", 0.0, "timeout"),
    (r"(", "a", None, "ungradable_gold"),
    (r"a{99999999999999}", "a", None, "ungradable_gold"),
    ("(" * 5000 + ")" * 5000, "a", None, "ungradable_gold"),
]


@pytest.mark.parametrize(("pattern", "text", "value", "outcome"), REGEX, ids=range(len(REGEX)))
def test_regex_match_matches_the_whole_answer_and_never_hangs(
    pattern: str, text: str, value: float | None, outcome: str
) -> None:
    started = time.monotonic()
    grade = grade_regex(text, pattern)
    assert (grade.value, grade.outcome) == (value, outcome), grade.reason
    assert time.monotonic() - started < 20.0


def test_patterns_come_as_a_column_or_as_one() -> None:
    assert regex_match(["5", "a"], r"\d") == [1.0, 0.0]
    assert regex_match(["5", "a"], [r"\d", "[a-z]"], answer=["5", "a"]) == [1.0, 1.0]
    assert regex_match(["5"], [None]) == [None]  # type: ignore[list-item]


AGE: dict[str, Any] = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}},
    "required": ["age"],
    "additionalProperties": False,
}
HUNGRY = {"type": "string", "pattern": "^(a+)+$"}
TREE = {"type": ["array", "null"], "items": {"$ref": "#"}}

JSON = [
    (AGE, '{"age": 5}', 1.0, "correct"),
    (AGE, '<think>{"age": -1}</think><answer> {"age": 5} </answer>', 1.0, "correct"),
    (AGE, '<think>x</think>Here:\n```json\n{"age": 5}\n```\n', 1.0, "correct"),
    (AGE, '```\n{"age": 4.5}\n```\n```json\n{"age": 5}\n```', 1.0, "correct"),
    (AGE, '{"age": 5.0}', 1.0, "correct"),
    (AGE, '{"age": -1}', 0.0, "wrong"),
    (AGE, '{"age": "5"}', 0.0, "wrong"),
    (AGE, '{"age": 5, "name": "x"}', 0.0, "wrong"),
    (AGE, '{"age": 5, "age": 6}', 0.0, "wrong"),
    (AGE, '{"age": NaN}', 0.0, "wrong"),
    (AGE, "{'age': 5}", 0.0, "wrong"),
    (AGE, '{"age": 5,}', 0.0, "wrong"),
    (AGE, 'It is {"age": 5}', 0.0, "wrong"),
    (AGE, "5", 0.0, "wrong"),
    (AGE, "", 0.0, "no_answer"),
    (AGE, "<think>x</think>", 0.0, "no_answer"),
    (AGE, '<think>{"age": 5}', 0.0, "truncated"),
    (AGE, '{"age": ' + "9" * 5000 + "}", 0.0, "wrong"),
    (AGE, '{"age": 1' + "0" * 100_000 + "}", 0.0, "wrong"),
    ('{"type": "integer"}', "5", 1.0, "correct"),
    ({"$defs": {"a": {"const": 5}}, "$ref": "#/$defs/a"}, "5", 1.0, "correct"),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "const": 5}, "5", 1.0, "correct"),
    (TREE, "[[null], []]", 1.0, "correct"),
    (TREE, "[" * 40_000 + "]" * 40_000, 0.0, "wrong"),
    (HUNGRY, '"' + "a" * 40 + 'b"', 0.0, "timeout"),
    ({"type": "strnig"}, "5", None, "ungradable_gold"),
    ({"$ref": "http://example.com/schema.json"}, "5", None, "ungradable_gold"),
    ("not json", "5", None, "ungradable_gold"),
    (None, "5", None, "ungradable_gold"),
    ({"const": {1, 2}}, "5", None, "ungradable_gold"),
]


@pytest.mark.parametrize(("schema", "text", "value", "outcome"), JSON, ids=range(len(JSON)))
def test_json_is_valid_against_its_schema(
    schema: Any, text: str, value: float | None, outcome: str
) -> None:
    grade = grade_json(text, schema) if schema is not None else None
    if grade is not None:
        assert (grade.value, grade.outcome) == (value, outcome), grade.reason
    assert json_schema([text], [schema]) == [value]


def test_the_reason_says_where_json_is_not_valid() -> None:
    assert grade_json('{"age": -1}', AGE).reason == "$.age: -1 is less than the minimum of 0"
    assert json_schema(['{"age": 5}', "5"], AGE) == [1.0, 0.0]


def test_lengths_that_differ_are_refused() -> None:
    for call in (multiple_choice, exact_match):
        with pytest.raises(ValueError, match="needs a list of 2 entries, not 1"):
            call(["a", "b"], ["B"])
    with pytest.raises(ValueError, match="needs a list of 2 entries, not 1"):
        regex_match(["a", "b"], ["B"])
    with pytest.raises(ValueError, match="needs a list of 2 entries, not 1"):
        json_schema(["a", "b"], [{}])


TOKENS = st.sampled_from(
    [
        *("<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "B", "(", ")", "A", " "),
        *("or", "The answer is ", "答案", "选", "{", '"a":', "5", "[", "]", "```\n", "\ud800", "\x00"),
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=60), st.lists(TOKENS, max_size=14).map("".join))


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.booleans())
def test_any_text_earns_zero_or_one(text: str, think_prefilled: bool) -> None:
    grades = [
        grade_choice(text, "B", think_prefilled=think_prefilled),
        grade_exact(text, "B", think_prefilled=think_prefilled),
        grade_regex(text, "[AB5]+", think_prefilled=think_prefilled),
        grade_json(text, {"minimum": 3}, think_prefilled=think_prefilled),
    ]
    assert {grade.value for grade in grades} <= {0.0, 1.0}


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_any_gold_can_be_handed_in(gold: str) -> None:
    grades = [grade_choice("B", gold), grade_exact("B", gold), grade_regex("B", gold)]
    assert {grade.value for grade in grades} <= {0.0, 1.0, None}
    assert grade_json("5", gold).value in (0.0, 1.0, None)


HOSTILE = [
    "answer is " * 10_000, "选" * 100_000, "B, " * 30_000, "(" * 100_000, "```\n" * 25_000,
    "{" * 100_000, "a\u0300\u0327" * 30_000, "<answer>" * 10_000 + "</answer>" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    started = time.process_time()
    assert grade_choice(text, "B").value == 0.0
    assert grade_choice(f"<answer>{text[:590]}</answer>", "B").value == 0.0
    assert grade_exact(text, "B").value == 0.0
    assert grade_json(text, AGE).value == 0.0
    assert time.process_time() - started < 8.0


def test_shutdown_ends_the_children_of_every_reward() -> None:
    assert regex_match(["<answer>aa</answer>"], ["a+"]) == [1.0]
    assert matches._REGEX_POOL.is_started
    shutdown()
    assert not matches._REGEX_POOL.is_started
    assert not matches._JSON_POOL.is_started
