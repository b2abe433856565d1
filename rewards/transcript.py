"""Completions as they come, a string or chat messages, and where their thought ends.

A chat message may carry its thought apart, as `reasoning_content` (or `thinking`); what its content
holds then comes after the thought. A template may have opened the thought in the prompt already, so
that the completion begins inside it: `think_prefilled` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "CLOSE_THINK",
    "OPEN_THINK",
    "Turn",
    "after_thought",
    "as_turn",
    "resolve_think_prefilled",
    "whole_text",
]

OPEN_THINK = "<think>"
CLOSE_THINK = "</think>"

_THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning")


class Turn(NamedTuple):
    """What the model wrote: its text, and its thought where that came apart from the text."""

    text: str
    thought: str | None  # None: the thought, if there is one, is inside the text


def as_turn(completion: object) -> Turn:
    """Read a completion, TRL's way: a string, or chat messages of which the last one counts.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(completion, str):
        return Turn(completion, None)
    if isinstance(completion, Mapping):
        return _message_turn(completion)
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], Mapping):
        return _message_turn(completion[-1])
    if isinstance(completion, Sequence) and not completion:
        return Turn("", None)
    kind = type(completion).__name__
    raise ValueError(f"a completion is a string or a list of chat messages, not {kind}")


def after_thought(turn: Turn, think_prefilled: bool) -> str | None:
    """The text after the last `</think>`; all without a thought; None: a thought never ended."""
    text = turn.text
    end = text.rfind(CLOSE_THINK)
    if end >= 0:
        rest = text[end + len(CLOSE_THINK) :]
        return None if OPEN_THINK in rest else rest
    if OPEN_THINK in text or (think_prefilled and turn.thought is None):
        return None
    return text


def whole_text(turn: Turn, think_prefilled: bool) -> str:
    """The completion with its thought in tags, as without any template it would be."""
    if turn.thought is not None:
        return f"{OPEN_THINK}{turn.thought}{CLOSE_THINK}{turn.text}"
    return OPEN_THINK + turn.text if think_prefilled else turn.text


def resolve_think_prefilled(
    num_completions: int, think_prefilled: object = None, prompts: Sequence[object] | None = None
) -> list[bool]:
    """One flag a completion: has its prompt's template opened the thought already?

    `think_prefilled` is one flag for all, a list of them, or None: so where a string prompt ends in
    `<think>`.
    """
    if isinstance(think_prefilled, bool):
        return [think_prefilled] * num_completions
    if think_prefilled is None and prompts is None:
        return [False] * num_completions
    flags: Sequence[Any]
    if think_prefilled is None:
        flags = [_ends_in_thought(prompt) for prompt in prompts or ()]
    elif isinstance(think_prefilled, Sequence) and not isinstance(think_prefilled, str):
        flags = [bool(flag) for flag in think_prefilled]
    else:
        raise ValueError(
            f"think_prefilled is True, False, None or a list of them, not {think_prefilled!r}"
        )
    if len(flags) != num_completions:
        name = "prompts" if think_prefilled is None else "think_prefilled"
        raise ValueError(f"{num_completions} completions, but {len(flags)} {name}")
    return list(flags)


def _message_turn(message: Mapping[str, Any]) -> Turn:
    thought = next((message[key] for key in _THOUGHT_KEYS if message.get(key)), None)
    return Turn(_content_text(message.get("content")), None if thought is None else str(thought))


def _content_text(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    raise ValueError(
        f"a message's content is a string or a list of parts, not {type(content).__name__}"
    )


def _ends_in_thought(prompt: object) -> bool:
    return isinstance(prompt, str) and prompt.rstrip().endswith(OPEN_THINK)
