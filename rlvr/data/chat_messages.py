"""Split an assistant message into reasoning and answer, or say why it is not a complete reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewards.transcript import CLOSE_THINK, OPEN_THINK

__all__ = ["Answer", "read_message"]


_THOUGHT_KEYS = ("reasoning_content", "reasoning")


_WHOLE = frozenset({"stop", "eos", "end_turn", "eos_token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`Answer(reasoning_content="2 and 3 ...", content="5", problem=None)`."""

    reasoning_content: str | None  # the thought, without white space around it; None: there is none
    content: str  # the rest, likewise
    problem: str | None  # why it is not a whole reply; None: it is one


def read_message(
    message: Mapping[str, Any], finish_reason: str | None, *, think_prefilled: bool = False
) -> Answer:
    """`think_prefilled`: the prompt ended in `<think>`, so that a text without a tag is a
    thought.
    """
    text = _text(message.get("content"))
    thought = next((message[key] for key in _THOUGHT_KEYS if message.get(key) is not None), None)
    if thought is None:
        answer = _inline(text, think_prefilled=think_prefilled)
    else:
        answer = _split(str(thought), text)
    ended = _why_ended(finish_reason)
    if ended is None:
        return answer
    return Answer(reasoning_content=answer.reasoning_content, content=answer.content, problem=ended)


def _inline(text: str, *, think_prefilled: bool) -> Answer:
    opened, closed = text.count(OPEN_THINK), text.count(CLOSE_THINK)
    if not closed:
        if opened or think_prefilled:
            thought = text.partition(OPEN_THINK)[2] if opened else text
            return _answer(thought, "", problem="the thought never ends")
        return _answer(None, text)
    before, _, after = text.partition(CLOSE_THINK)
    outside, tag, thought = before.partition(OPEN_THINK) if opened else ("", "", before)
    if opened and not tag:
        return _answer(before, after, problem="the thought ends before it begins")
    if opened > 1 or closed > 1:
        return _answer(thought, after, problem="more than one thought")
    if outside.strip():
        return _answer(thought, after, problem="there is text before the thought")
    return _answer(thought, after)


def _split(thought: str, content: str) -> Answer:
    if any(tag in part for tag in (OPEN_THINK, CLOSE_THINK) for part in (thought, content)):
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
