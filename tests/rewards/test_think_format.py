"""The form of reasoning and answer: a table from text to 0 or 1, for both profiles."""

from __future__ import annotations

import pytest

from rewards import grade_format, think_format

GOOD = "<think>2+3</think><answer>5</answer>"

ZERO = [
    (GOOD, 1.0),
    ("  <think>2+3</think>\n\n<answer>5</answer>\n", 1.0),
    ("<think>2+3\n\n</think>\n<answer>\\boxed{5}\n</answer>", 1.0),
    ("<think>a < b > c</think><answer>5</answer>", 1.0),
    ("", 0.0),
    ("5", 0.0),
    ("<think>2+3</think>5", 0.0),
    ("<answer>5</answer>", 0.0),
    ("<think></think><answer>5</answer>", 0.0),
    ("<think> \n</think><answer>5</answer>", 0.0),
    ("<think>2+3</think><answer> </answer>", 0.0),
    ("x" + GOOD, 0.0),
    (GOOD + "x", 0.0),
    (GOOD + "\n</answer>", 0.0),
    (GOOD + GOOD, 0.0),
    ("<think>2+3</think>so<answer>5</answer>", 0.0),
    ("<answer>5</answer><think>2+3</think>", 0.0),
    ("<think>2+3<answer>5</answer></think>", 0.0),
    ("<think>2+3<answer>5</think></answer>", 0.0),
    ("<think>like `<answer>`</think><answer>5</answer>", 0.0),
    ("<think>like ```</think>```</think><answer>5</answer>", 0.0),
    ("<think>2+3</think><answer>4</answer><answer>5</answer>", 0.0),
    ("<think>2+3</think></answer>5<answer>", 0.0),
    ("</think>2+3<think><answer>5</answer>", 0.0),
    ("<think>2+3", 0.0),
    ("<think>2+3</think>", 0.0),
    ("<think>2+3</think><answer>5", 0.0),
    ("<Think>2+3</Think><answer>5</answer>", 0.0),
    ("<think >2+3</think><answer>5</answer>", 0.0),
    ("\x00" + GOOD, 0.0),
]

R1 = [
    ("<think>2+3</think>5", 1.0),
    ("<think>2+3</think>\n\nThe answer is \\boxed{5}.", 1.0),
    (GOOD, 1.0),
    ("<think>2+3</think>", 0.0),
    ("<think>2+3</think>\n", 0.0),
    ("<think>\n</think>5", 0.0),
    ("5", 0.0),
    ("so <think>2+3</think>5", 0.0),
    ("<think>2</think>5<think>3</think>5", 0.0),
    ("<think>2+3</think>5</think>", 0.0),
    ("2+3</think>5", 0.0),
    ("<think>2+3", 0.0),
]


@pytest.mark.parametrize(("text", "value"), ZERO)
def test_profile_zero_wants_thought_and_answer_and_nothing_else(text: str, value: float) -> None:
    assert think_format([text]) == [value]


@pytest.mark.parametrize(("text", "value"), R1)
def test_profile_r1_wants_one_thought_and_then_an_answer(text: str, value: float) -> None:
    assert think_format([text], profile="r1") == [value]


@pytest.mark.parametrize(("text", "value"), ZERO)
def test_a_template_that_opens_the_thought_changes_no_verdict(text: str, value: float) -> None:
    if text.startswith("<think>"):
        inside = text.removeprefix("<think>")
        assert think_format([inside], prompts=["2+3? <think>"]) == [value]
        assert think_format([inside], think_prefilled=True) == [value]
        assert think_format([text], think_prefilled=True) == [0.0]


def test_a_message_with_its_thought_apart_is_in_form() -> None:
    message = {"role": "assistant", "reasoning_content": "2+3", "content": "5"}
    tagged = {**message, "content": "<answer>5</answer>"}
    assert think_format([[message]], profile="r1") == [1.0]
    assert think_format([[message], [tagged]]) == [0.0, 1.0]
    assert think_format([[{**message, "content": GOOD}]], profile="r1") == [0.0]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (GOOD, "correct"),
        ("<think>2+3", "truncated"),
        ("<think>2+3</think>", "no_answer"),
        ("5", "wrong"),
    ],
)
def test_the_outcome_says_what_was_amiss(text: str, outcome: str) -> None:
    assert grade_format(text).outcome == outcome


def test_an_unknown_profile_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="profile is 'r2'; allowed: zero, r1"):
        think_format([GOOD], profile="r2")
