"""A message of a chat completion -> thought and answer, or why it is no whole reply.

    | style   | message                                                               |
    |---------|-----------------------------------------------------------------------|
    | split   | {"reasoning_content": "thought", "content": "answer"}, or "reasoning"   |
    | inline  | {"content": "<think>thought</think>answer"}                            |
    | opened  | {"content": "thought</think>answer"}: the template wrote the first tag |

Tags are literal wherever they stand, as for `think_format`: a second one is a second thought.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Usage", "read_message", "read_usage"]

OPEN, CLOSE = "<think>", "</think>"
_THOUGHT_KEYS = ("reasoning_content", "reasoning")
_WHOLE = frozenset({"stop", "eos", "end_turn", "eos_token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`Answer(reasoning_content="2 and 3 ...", content="5", problem=None)`."""

    reasoning_content: str | None  # the thought, without white space around it; None: there is none
    content: str  # the rest, likewise
    problem: str | None  # why it is not a whole reply; None: it is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a call, as the address counts them; None: it does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None  # thought and answer
    reasoning_tokens: int | None = None  # the thought's, among these


def read_message(
    message: Mapping[str, Any], finish_reason: str | None, *, thought_open: bool = False
) -> Answer:
    """`thought_open`: the prompt ended in `<think>`, so that a text without a tag is a thought."""
    text = _text(message.get("content"))
    thought = next((message[key] for key in _THOUGHT_KEYS if message.get(key) is not None), None)
    if thought is None:
        answer = _inline(text, thought_open=thought_open)
    else:
        answer = _split(str(thought), text)
    ended = _why_ended(finish_reason)
    if ended is None:
        return answer
    return Answer(reasoning_content=answer.reasoning_content, content=answer.content, problem=ended)


def read_usage(completion: Mapping[str, Any]) -> Usage:
    """Of a chat completion; whatever is not a whole number is left out."""
    usage = completion.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    details = usage.get("completion_tokens_details")
    details = details if isinstance(details, Mapping) else {}
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(details.get("reasoning_tokens")),
    )


def _inline(text: str, *, thought_open: bool) -> Answer:
    opened, closed = text.count(OPEN), text.count(CLOSE)
    if not closed:
        if opened or thought_open:
            thought = text.partition(OPEN)[2] if opened else text
            return _answer(thought, "", problem="the thought never ends")
        return _answer(None, text)
    before, _, after = text.partition(CLOSE)
    outside, tag, thought = before.partition(OPEN) if opened else ("", "", before)
    if opened and not tag:
        return _answer(before, after, problem="the thought ends before it begins")
    if opened > 1 or closed > 1:
        return _answer(thought, after, problem="more than one thought")
    if outside.strip():
        return _answer(thought, after, problem="there is text before the thought")
    return _answer(thought, after)


def _split(thought: str, content: str) -> Answer:
    if any(tag in part for tag in (OPEN, CLOSE) for part in (thought, content)):
        return _answer(thought, content, problem="a thought apart, and tags of another")
    return _answer(thought, content)


def _answer(thought: str | None, content: str, *, problem: str | None = None) -> Answer:
    thought, content = thought if thought is None else thought.strip(), content.strip()
    if problem is None and thought == "":
        problem = "the thought is empty"
    if problem is None and not content:
        problem = "there is no answer"
    return Answer(reasoning_content=thought, content=content, problem=problem)


def _why_ended(finish_reason: str | None) -> str | None:
    if finish_reason is None or finish_reason in _WHOLE:
        return None
    if finish_reason == "length":
        return "truncated: max_tokens was reached"
    return f"finish_reason is {finish_reason}"


def _text(content: Any) -> str:
    """A message's content is text, a list of parts, or null."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
