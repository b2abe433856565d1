"""A completion in its two parts: the thought, and what the user is to read."""

from __future__ import annotations

from typing import NamedTuple

from rewards.transcript import CLOSE_THINK, OPEN_THINK

__all__ = ["Parts", "is_thinking", "split_thought"]


class Parts(NamedTuple):
    """`<think>a</think>b` is Parts("a", "b")."""

    thought: str | None  # None: there is none; may be without an end
    answer: str  # empty where the thought never ended


def split_thought(text: str, *, think_prefilled: bool = False) -> Parts:
    """The thought without its tags; `think_prefilled`: the prompt has opened it already."""
    before, closed, after = text.rpartition(CLOSE_THINK)
    if closed:
        return Parts(_behind_tag(before).strip(), after.strip())
    if think_prefilled or OPEN_THINK in text:
        return Parts(_behind_tag(text).strip(), "")
    return Parts(None, text.strip())


def is_thinking(text: str, *, think_prefilled: bool = False) -> bool:
    """Whether the text ends in the middle of a thought."""
    return CLOSE_THINK not in text and (think_prefilled or OPEN_THINK in text)


def _behind_tag(text: str) -> str:
    _, opened, thought = text.partition(OPEN_THINK)
    return thought if opened else text
