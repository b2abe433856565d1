"""Answers that completions state: tables from text to the extracted answer."""

from __future__ import annotations

import time

import pytest

from rewards import grade_accuracy
from rewards.math.extract import StatedAnswer, last_boxed, read_answer
from rewards.transcript import as_turn, resolve_think_prefilled

BOXES = [
    (r"\boxed{42}", "42"),
    (r"so \boxed{ \frac{1}{2} } it is", r"\frac{1}{2}"),
    (r"\fbox{7}", "7"),
    (r"\boxed {7}", "7"),
    (r"\boxed{41}, but rechecking gives \boxed{42}", "42"),
    (r"\boxed{41} or \boxed{42}", "41, 42"),
    (r"$\boxed{41}$ and $\boxed{42}$", "41, 42"),
    (r"\boxed{1}, \boxed{2}, and \boxed{3}", "1, 2, 3"),
    (r"\boxed{42}, \boxed{42}", "42"),
    (r"\boxed{41}\n\n\boxed{42}", "42"),
    (r"\boxed{42} or \boxed{}", ""),
    (r"\boxed{42} \boxed{}", ""),
    (r"\boxed{\boxed{42}}", "42"),
    (r"\boxed{\text{the }\boxed{4}}", r"\text{the }\boxed{4}"),
    (r"\boxed{\{1,2\}}", r"\{1,2\}"),
    (r"\boxed{41 and so \boxed{42}", "42"),
    (r"\boxed{41} and \boxed{4", "41"),
    (r"} } \boxed{42}", "42"),
    (r"\boxed{unclosed", None),
    (r"boxed{42}", None),
    ("no box", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), BOXES)
def test_the_last_balanced_box_is_read(text: str, expected: str | None) -> None:
    assert last_boxed(text) == expected


READ = [
    ("<think>41</think><answer>42</answer>", "42"),
    ("<think>\\boxed{41}</think> \\boxed{42}", "42"),
    ("<think>a</think>b</think>\\boxed{42}", "42"),
    ("\\boxed{42}", "42"),
    ("<think>a</think><answer>41</answer> <answer> 42 </answer>", "42"),
    ("<think>a</think><answer>\\boxed{42}</answer> \\boxed{41}", "42"),
    ("<think>a</think><answer>no, <answer>42</answer>", "42"),
    ("<think>a</think><answer>\\boxed{42}", "42"),
    ("a</think>\\boxed{42}", "42"),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_only_the_answer_part_is_read(text: str, expected: str) -> None:
    answer = read_answer(as_turn(text))
    assert isinstance(answer, StatedAnswer)
    assert answer.text == expected


UNREAD = [
    ("<think> maybe \\boxed{42} but wait", "truncated"),
    ("<think>a</think><think>b \\boxed{42}", "truncated"),
    ("<think>42</think>", "no_answer"),
    ("<think>\\boxed{42}</think>", "no_answer"),
    ("<think>42</think><answer> </answer>", "no_answer"),
    ("<think>42</think><answer></answer>", "no_answer"),
    ("<think>42</think><answer>42", "no_answer"),
    ("42", "no_answer"),
    ("", "no_answer"),
    ("\\boxed{}", "wrong"),
    ("<answer>\\boxed{42}\\boxed{ }</answer>", "wrong"),
]


@pytest.mark.parametrize(("text", "outcome"), UNREAD)
def test_a_completion_without_an_answer_earns_nothing(text: str, outcome: str) -> None:
    grade = grade_accuracy(text, "42")
    assert (grade.value, grade.outcome) == (0.0, outcome)


def test_a_thought_that_the_prompt_opened_has_to_be_closed() -> None:
    assert grade_accuracy("\\boxed{42}", "42", think_prefilled=True).outcome == "truncated"
    assert grade_accuracy("2+40</think>\\boxed{42}", "42", think_prefilled=True).value == 1.0


def test_a_string_prompt_that_ends_in_a_tag_opens_the_thought() -> None:
    prompts = ["1+1? <think>\n", "1+1?", [{"role": "user", "content": "<think>"}]]
    assert resolve_think_prefilled(3, None, prompts) == [True, False, False]
    assert resolve_think_prefilled(2, True) == [True, True]
    assert resolve_think_prefilled(2, [False, True], ["<think>", "<think>"]) == [False, True]


@pytest.mark.parametrize("key", ["reasoning_content", "thinking"])
def test_a_message_may_carry_its_thought_apart(key: str) -> None:
    message = {"role": "assistant", "content": "<answer>42</answer>", key: "41?"}
    assert grade_accuracy([message], "42", think_prefilled=True).value == 1.0
    assert grade_accuracy([{**message, "content": None}], "42").outcome == "no_answer"


def test_the_last_message_counts_and_content_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "\\boxed{4"}, {"type": "text", "text": "2}"}]
    messages = [
        {"role": "assistant", "content": "\\boxed{41}"},
        {"role": "tool", "content": "41"},
        {"role": "assistant", "content": parts},
    ]
    assert grade_accuracy(messages, "42").value == 1.0


def test_a_completion_of_another_kind_is_named() -> None:
    with pytest.raises(ValueError, match="string or a list of chat messages, not int"):
        grade_accuracy(42, "42")


HOSTILE = [
    "\\boxed{" * 30_000,
    "\\" * 100_000 + "boxed{42}",
    "{" * 100_000 + "\\boxed{42}" + "}" * 100_000,
    "\\boxed{1}, " * 9_000,
    "<think>" * 20_000,
    "<answer>" * 20_000 + "</answer>" * 20_000,
    "\x00" * 100_000,
    "\\boxed{" + "1" * 100_000 + "}",
    "<answer>" + "1 " * 50_000 + "</answer>",
    "<answer>" + "answer is " * 10_000 + "</answer>",
    "\\boxed{" + "(" * 50_000 + ")" * 50_000 + "}",
    "\\boxed{" + " " * 100_000 + "x}",
    "\\boxed{\ud800\udfff\U0010ffff}",
    "<answer>" + "".join(map(chr, range(0x20, 0x3000))) + "</answer>",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    started = time.process_time()  # other load and the start of a child do not count
    assert grade_accuracy(text, "42").value == 0.0 or "42" in text
    assert time.process_time() - started < 2.0
