"""Completions, as strings or chat messages, and the end of their reasoning.

A chat message may carry its reasoning separately, as `reasoning_content` (or `thinking`); its
content is then the text after it. A template may open the reasoning in the prompt, so that the
completion begins inside it: `think_prefilled` is then true.
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
    "as_turns",
    "resolve_think_prefilled",
    "whole_text",
]

OPEN_THINK = "<think>"
CLOSE_THINK = "</think>"

_THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning")


class Turn(NamedTuple):
    """The text of a completion, and its reasoning where that is separate from the text."""

    text: str
    thought: str | None  # None: any reasoning is inside the text


def as_turn(completion: object) -> Turn:
    """Read a completion as in TRL: a string, or chat messages of which the last one counts.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(completion, str):
        return Turn(completion, None)
    if isinstance(completion, Sequence) and not completion:
        return Turn("", None)
    message = completion[-1] if isinstance(completion, Sequence) else completion
    if not isinstance(message, Mapping):
        kind = type(completion).__name__
        raise ValueError(f"a completion is a string or a list of chat messages, not {kind}")
    thought = next((message[key] for key in _THOUGHT_KEYS if message.get(key)), None)
    return Turn(_content_text(message.get("content")), None if thought is None else str(thought))


def as_turns(
    completions: Sequence[object], think_prefilled: object, prompts: Sequence[object] | None
) -> list[tuple[Turn, bool]]:
    """Return each completion with its resolved `think_prefilled`."""
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return list(zip(map(as_turn, completions), flags, strict=True))


def after_thought(turn: Turn, think_prefilled: bool) -> str | None:
    """Return the text after the last `</think>`, or all of it if it contains no reasoning.

    None where the reasoning is opened and never closed.
    """
    text = turn.text
    end = text.rfind(CLOSE_THINK)
    if end >= 0:
        rest = text[end + len(CLOSE_THINK) :]
        return None if OPEN_THINK in rest else rest
    if OPEN_THINK in text or (think_prefilled and turn.thought is None):
        return None
    return text


def whole_text(turn: Turn, think_prefilled: bool) -> str:
    """Return the completion with its reasoning in tags, as it would be without a template."""
    if turn.thought is not None:
        return f"{OPEN_THINK}{turn.thought}{CLOSE_THINK}{turn.text}"
    return OPEN_THINK + turn.text if think_prefilled else turn.text


def resolve_think_prefilled(
    num_completions: int, think_prefilled: object = None, prompts: Sequence[object] | None = None
) -> list[bool]:
    """Return for each completion whether its prompt has already opened the reasoning.

    `think_prefilled` is one flag for all, a list of flags, or None: true where a string prompt ends
    in `<think>`.

    Raises:
        ValueError: it is none of these, or a list of another length.
    """
    if isinstance(think_prefilled, bool):
        return [think_prefilled] * num_completions
    if think_prefilled is None and prompts is None:
        return [False] * num_completions
    flags: Sequence[Any]
    if think_prefilled is None:
        prompts = () if prompts is None else prompts  # not `or`: a numpy array has no truth value
        flags = [isinstance(p, str) and p.rstrip().endswith(OPEN_THINK) for p in prompts]
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
