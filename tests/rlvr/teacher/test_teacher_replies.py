"""A message of a chat completion: its reasoning, its answer, or why it is incomplete."""

from __future__ import annotations

from typing import Any

import pytest
from loopback_teacher import Says

from rlvr.data.reasoning_tags import ParsedReply, read_message
from rlvr.stages.distill.teacher_rows import token_lengths
from rlvr.teacher import Usage
from rlvr.teacher.client import read_usage


def content(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def whole(thought: str | None, text: str) -> ParsedReply:
    return ParsedReply(reasoning_content=thought, content=text, problem=None)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"content": "5", "reasoning_content": "2 and 3"}, whole("2 and 3", "5")),
        ({"content": "\n\n5", "reasoning_content": "2 and 3\n"}, whole("2 and 3", "5")),
        ({"content": "5", "reasoning": "2 and 3"}, whole("2 and 3", "5")),
        ({"content": "5", "reasoning_content": None, "reasoning": "so"}, whole("so", "5")),
        (content("<think>\n2 and 3\n</think>\n\n5"), whole("2 and 3", "5")),
        (content("2 and 3\n</think>\n\n5"), whole("2 and 3", "5")),  # vLLM without a parser
        (content("  <think>2 and 3</think>5"), whole("2 and 3", "5")),
        (content("5"), whole(None, "5")),
        ({"content": [{"type": "text", "text": "5"}]}, whole(None, "5")),
    ],
)
def test_a_complete_reply_is_reasoning_and_answer(
    message: dict[str, Any], answer: ParsedReply
) -> None:
    assert read_message(message, "stop") == answer


@pytest.mark.parametrize(
    ("message", "finish_reason", "problem"),
    [
        (content("<think>2 and"), "stop", "the thought never ends"),
        (content("<think>2 and"), "length", "truncated: max_tokens was reached"),
        (content("<think>2 and 3</think>5 is"), "length", "truncated: max_tokens was reached"),
        (content("<think>\n\n</think>\n\n5"), "stop", "the thought is empty"),
        ({"content": "5", "reasoning_content": ""}, "stop", "the thought is empty"),
        (content("<think>a</think><think>b</think>5"), "stop", "more than one thought"),
        (content("a</think>b</think>5"), "stop", "more than one thought"),
        (content("</think>a<think>5"), "stop", "the thought ends before it begins"),
        (content("Sure! <think>a</think>5"), "stop", "there is text before the thought"),
        (content("<think>a</think>  "), "stop", "there is no answer"),
        ({"content": None, "reasoning_content": "a"}, "stop", "there is no answer"),
        ({"content": None}, "stop", "there is no answer"),
        (
            {"content": "<think>b</think>5", "reasoning_content": "a"},
            "stop",
            "reasoning in a key of its own and in tags",
        ),
        (content("5"), "content_filter", "finish_reason is content_filter"),
    ],
)
def test_an_incomplete_reply_has_the_reason(
    message: dict[str, Any], finish_reason: str, problem: str
) -> None:
    assert read_message(message, finish_reason).problem == problem


def test_truncated_reasoning_is_kept() -> None:
    answer = read_message(content("<think>2 and"), "length")
    assert (answer.reasoning_content, answer.content) == ("2 and", "")


def test_after_a_prefilled_tag_text_without_tags_is_reasoning() -> None:
    answer = read_message(content("2 and"), "stop", think_prefilled=True)
    assert (answer.reasoning_content, answer.problem) == ("2 and", "the thought never ends")
    assert read_message(content("2</think>5"), "stop", think_prefilled=True) == whole("2", "5")


def test_all_styles_of_one_reply_are_read_alike() -> None:
    styles = ("split", "reasoning", "inline", "opened")
    replies = [Says("5", thought="2 and 3", style=style).message for style in styles]
    assert {read_message(message, "stop") for message in replies} == {whole("2 and 3", "5")}


def test_a_missing_finish_reason_is_no_problem() -> None:
    assert read_message(content("5"), None).problem is None


def test_usage_is_read_if_present() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 7}}
    counted = {"usage": {"prompt_tokens": 3, "completion_tokens": 9, **details}}
    assert read_usage(counted) == Usage(prompt_tokens=3, completion_tokens=9, reasoning_tokens=7)
    for nothing in ({}, {"usage": None}, {"usage": {"prompt_tokens": "3"}}):
        assert read_usage(nothing) == Usage()


@pytest.mark.parametrize(
    ("usage", "lengths", "by"),
    [
        (Usage(prompt_tokens=3, completion_tokens=9, reasoning_tokens=7), (3, 7, 2), "usage"),
        # 6 of 8 characters are the thought's: 9 of 12 tokens
        (Usage(prompt_tokens=3, completion_tokens=12), (3, 9, 3), "usage, characters"),
        (Usage(), (4, 2, 2), "words"),  # 2 + 3 ?   two Chinese   4 2
    ],
)
def test_lengths_name_their_source(usage: Usage, lengths: tuple[int, ...], by: str) -> None:
    thought = "二三" if by == "words" else "abcdef"
    answer = "4 2" if by == "words" else "42"
    columns = token_lengths(usage, prompt="2+3?", reasoning_content=thought, content=answer)
    assert tuple(columns.values()) == (*lengths, by)
    assert list(columns)[:2] == ["prompt_tokens_len", "reasoning_content_tokens_len"]
