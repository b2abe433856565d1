# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Shaping rewards: values worked out by hand, their ranges, and what no longer pays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import Grade
from rewards.shaping.lengths import (
    cosine_length,
    grade_cosine,
    grade_overlong,
    overlong,
)
from rewards.shaping.text_structure import (
    grade_repetition,
    grade_steps,
    reasoning_steps,
    repetition,
)
from rewards.shaping.think_tags import grade_tags, tag_count

OVERLONG = [(0, 0.0), (80, 0.0), (81, -0.05), (90, -0.5), (100, -1.0), (101, -1.0), (10**9, -1.0)]


@pytest.mark.parametrize(("num_tokens", "value"), OVERLONG)
def test_overlong_falls_from_the_free_tokens_to_the_last(num_tokens: int, value: float) -> None:
    grade = grade_overlong(num_tokens, max_tokens=100, cache_tokens=20)
    assert grade.value == pytest.approx(value)
    assert grade.outcome == ("correct" if value == 0 else "wrong")


def test_overlong_counts_tokens_and_agrees_with_trl() -> None:
    from trl.rewards import get_soft_overlong_punishment

    ids = [[7] * num_tokens for num_tokens in range(0, 130, 7)]
    ours = overlong([""] * len(ids), ids, max_tokens=100, cache_tokens=20)
    assert ours == pytest.approx(get_soft_overlong_punishment(100, 20)(ids))


# right, 0.5 to 1: cos(0) = 1, cos(pi / 3) = 1/2, cos(pi / 2) = 0, cos(pi) = -1
COSINE = [
    (True, 0, 1.0),
    (True, 20, 0.875),
    (True, 30, 0.75),
    (True, 60, 0.5),
    (True, 120, 0.5),
    (False, 0, -1.0),
    (False, 20, -0.875),
    (False, 30, -0.75),
    (False, 60, -0.5),
    (False, 120, -0.5),
]


@pytest.mark.parametrize(("is_right", "num_tokens", "value"), COSINE)
def test_the_cosine_of_the_length_held_to_the_maximum(
    is_right: bool, num_tokens: int, value: float
) -> None:
    assert grade_cosine(num_tokens, is_right, max_tokens=60).value == pytest.approx(value)


def test_cosine_length_asks_accuracy_or_a_function_who_is_right() -> None:
    completions = [r"\boxed{5}", r"\boxed{6}", r"\boxed{5}"]
    ids = [[7] * 30] * 3
    values = cosine_length(completions, ids, max_tokens=60, answer=["5", "5", ""])
    assert values == [pytest.approx(0.75), pytest.approx(-0.75), None]
    halves = cosine_length(
        completions, ids, max_tokens=60, correct=lambda completions, **columns: [1.0, 0.5, None]
    )
    assert halves == [pytest.approx(0.75), pytest.approx(-0.75), None]


REPETITION = [
    ("", 3, 0.0),
    ("so", 3, 0.0),
    ("one two three four", 3, 0.0),
    ("so so so so", 2, -2 / 3),
    ("So so SO so", 2, -2 / 3),
    ("a b a b a b", 2, -3 / 5),
    ("我们我们我们", 2, -3 / 5),
    ("等等等等", 2, -2 / 3),
    ("รอรอ", 2, -1 / 3),
    ("a" * 101, 3, -98 / 99),
    ("a" * 100, 3, 0.0),
]


@pytest.mark.parametrize(("text", "ngram_size", "value"), REPETITION)
def test_what_comes_again_costs(text: str, ngram_size: int, value: float) -> None:
    assert grade_repetition(text, ngram_size=ngram_size).value == pytest.approx(value)


def test_repetition_reads_the_thought_too_and_scales() -> None:
    message = {"role": "assistant", "content": "so so", "thinking": "so so"}
    assert repetition([[message]], ngram_size=2, max_penalty=-0.3) == [pytest.approx(-0.2)]


STEPS = [
    ("", 0),
    ("It is 5.", 0),
    ("Step 1: add both\nStep 2: halve it\nStep 3: done here", 3),
    ("1. add both\n2. halve it", 2),
    ("1) add both\n2) halve it", 2),
    ("- add both\n* halve it", 2),
    ("First, add both. Second, halve it. Finally, check it.", 3),
    ("首先把两个数相加，然后除以二，最后检查一遍。", 3),
    ("第一步：两数相加。第二步：再除以二。", 2),
    ("步骤1：两数相加\n步骤2：再除以二", 2),
    ("一、两数相加\n二、再除以二", 2),
    ("<think>1. add both</think><answer>2. halve it</answer>", 2),
    # marks alone are no steps, nor is the same step again
    ("First, First, First, First,", 0),
    ("1. \n2. \n3. \n", 0),
    ("1. add both\n2. add both\n3. Add both!", 1),
    ("- \n" * 1000, 0),
    ("3.14 and 2.71\n1.5 is not a step", 0),
    ("---\n---\n---", 0),
]


@pytest.mark.parametrize(("text", "num_found"), STEPS)
def test_steps_are_different_texts_under_a_mark(text: str, num_found: int) -> None:
    assert grade_steps(text, num_steps=4).value == pytest.approx(num_found / 4), text


def test_more_steps_than_asked_for_earn_no_more() -> None:
    text = "\n".join(f"{number}. this is step {number}" for number in range(1, 9))
    assert reasoning_steps([text]) == [1.0]
    assert reasoning_steps([text], num_steps=16) == [0.5]


TAGS = [
    ("", 0.0),
    ("5", 0.0),
    ("<think>2+3</think><answer>5</answer>", 1.0),
    ("<think>2+3</think>5", 0.5),
    ("<think>2+3 <answer>5</answer>", 0.75),
    ("<answer>5</answer>", 0.5),
    ("<think>", 0.25),
    # again is not more
    ("<think><think>2+3</think><answer>5</answer>", 0.75),
    ("<think>2+3</think><answer>5</answer>" * 2, 0.0),
    ("<think>" * 1000, 0.0),
    # order
    ("</answer><answer></think><think>", 0.25),
    ("<answer>5</answer><think>2+3</think>", 0.5),
    ("</think>2+3<think><answer>5</answer>", 0.75),
]


@pytest.mark.parametrize(("text", "value"), TAGS)
def test_each_tag_counts_once_and_in_order(text: str, value: float) -> None:
    assert tag_count([text]) == [value]


def test_a_tag_that_the_prompt_wrote_counts() -> None:
    assert tag_count(["2</think><answer>5</answer>"], prompts=["5? <think>"]) == [1.0]
    assert tag_count(["<think>2</think><answer>5</answer>"], think_prefilled=True) == [0.75]
    message = {"role": "assistant", "content": "<answer>5</answer>", "reasoning_content": "2+3"}
    assert tag_count([[message]]) == [1.0]


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: overlong(["a"], [[1]], max_tokens=0, cache_tokens=1), "max_tokens is 0; it must be"),
    (lambda: overlong(["a"], [[1]], max_tokens=9, cache_tokens=0), "cache_tokens is 0; it must"),
    (lambda: overlong(["a"], [[1]], max_tokens=9, cache_tokens=10), "must not be above max_tokens"),
    (
        lambda: overlong(["a"], None, max_tokens=9, cache_tokens=1),
        "needs a list of 1 entries, not none",
    ),  # type: ignore[arg-type]
    (lambda: overlong(["a"], [], max_tokens=9, cache_tokens=1), "needs a list of 1 entries, not 0"),
    (
        lambda: grade_cosine(1, True, max_tokens=9, max_value_wrong=0.6),
        "max_value_wrong is 0.6, above min_val",
    ),
    (
        lambda: grade_cosine(1, True, max_tokens=9, max_value_correct=2),
        r"must be a number in \[-1, 1\]",
    ),
    (lambda: repetition(["a"], ngram_size=0), "ngram_size is 0; it must be"),
    (
        lambda: repetition(["a"], max_penalty=0.5),
        r"max_penalty is 0.5; it must be a number in \[-1",
    ),
    (lambda: reasoning_steps(["a"], num_steps=0), "num_steps is 0; it must be"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_options_that_make_no_sense_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


TOKENS = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "1. ",
        "\n",
        "- ",
        "First,",
        "首先",
        "so ",
        "等",
    ]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(TOKENS, max_size=30).map("".join))
RANGES: list[tuple[Callable[[object], Grade], float, float]] = [
    (grade_repetition, -1.0, 0.0),
    (grade_steps, 0.0, 1.0),
    (grade_tags, 0.0, 1.0),
]


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_any_text_earns_what_lies_in_the_range(text: str) -> None:
    for grade_one, low, high in RANGES:
        value = grade_one(text).value
        assert value is not None
        assert low <= value <= high


@given(st.integers(0, 300), st.integers(1, 100), st.integers(1, 100))
def test_a_longer_completion_is_never_punished_less(num: int, free: int, cache: int) -> None:
    limits = {"max_tokens": free + cache, "cache_tokens": cache}
    shorter, longer = (grade_overlong(tokens, **limits).value for tokens in (num, num + 1))
    assert shorter is not None
    assert longer is not None
    assert -1.0 <= longer <= shorter <= 0.0


@given(st.integers(0, 300), st.integers(1, 200))
def test_right_answers_pay_less_with_length_and_wrong_ones_never_pay(num: int, most: int) -> None:
    right, longer = (grade_cosine(tokens, True, max_tokens=most).value for tokens in (num, num + 1))
    wrong, longer_wrong = (
        grade_cosine(tokens, False, max_tokens=most).value for tokens in (num, num + 1)
    )
    assert None not in (right, longer, wrong, longer_wrong)
    assert 0.5 <= longer <= right <= 1.0  # type: ignore[operator]
    assert -1.0 <= wrong <= longer_wrong <= -0.5  # type: ignore[operator]


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=20))
def test_repetition_agrees_with_a_slow_count(words: list[str]) -> None:
    ngrams = [tuple(words[start : start + 3]) for start in range(len(words) - 2)]
    num_again = sum(ngram in ngrams[:index] for index, ngram in enumerate(ngrams))
    value = grade_repetition(" ".join(words)).value
    assert value is not None
    assert math.isclose(value, -num_again / len(ngrams), abs_tol=1e-12)


@given(TEXTS, st.sampled_from(["<think>", "</answer>"]))
def test_a_tag_that_is_there_cannot_be_repeated_for_more(text: str, tag: str) -> None:
    once, twice = grade_tags(text + tag).value, grade_tags(text + tag + tag).value
    assert once is not None
    assert twice is not None
    assert twice <= once


HOSTILE = [
    *("<think>" * 15_000, "1. " * 33_000, "\n- " * 33_000, " " * 100_000, "a" * 100_000),
    *("\t" * 100_000 + "1.", "\u4e00" * 100_000, "\x00" * 100_000, "\ud800" * 100_000),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    started = time.process_time()
    for grade_one, _, _ in RANGES:
        grade_one(text)
    assert time.process_time() - started < 2.0
