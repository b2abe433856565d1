"""Split completions and chat messages into reasoning and answer, and count reflection words.

`split_reasoning` accepts any text. `read_message` is strict: it reports why a message is not a
complete reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rewards.transcript import CLOSE_THINK, OPEN_THINK

__all__ = [
    "ParsedReply",
    "Parts",
    "is_thinking",
    "num_reflection_words",
    "read_message",
    "split_reasoning",
]

_REASONING_KEYS = ("reasoning_content", "reasoning")
_COMPLETE = frozenset({"stop", "eos", "end_turn", "eos_token"})  # finish reasons
# words of reflection; the paper's list is English, the Chinese one is our own
_ENGLISH = r"\b(?:wait|mistake|however|but|retry|error|verify|wrong|evaluate|check)\b"
_CHINESE = "等等|等一下|不对|错误|错了|但是|然而|验证|检查|重新"
_REFLECTION = re.compile(rf"{_ENGLISH}|{_CHINESE}", re.IGNORECASE)


class Parts(NamedTuple):
    """`<think>a</think>b` is Parts("a", "b")."""

    thought: str | None  # None: no reasoning; possibly unfinished
    answer: str  # empty if the reasoning never ended


def split_reasoning(text: str, *, think_prefilled: bool = False) -> Parts:
    """Return reasoning and answer without tags; `think_prefilled`: the prompt opened the tag."""
    before, closed, after = text.rpartition(CLOSE_THINK)
    if not closed and not think_prefilled and OPEN_THINK not in text:
        return Parts(None, text.strip())
    inside = before if closed else text
    _, opened, reasoning = inside.partition(OPEN_THINK)
    return Parts((reasoning if opened else inside).strip(), after.strip() if closed else "")


def is_thinking(text: str, *, think_prefilled: bool = False) -> bool:
    """Return whether the text ends inside its reasoning."""
    return CLOSE_THINK not in text and (think_prefilled or OPEN_THINK in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """`ParsedReply(reasoning_content="2 and 3 ...", content="5", problem=None)`."""

    reasoning_content: str | None  # stripped; None: no reasoning
    content: str  # the answer, stripped
    problem: str | None  # why the reply is incomplete; None: it is complete


def read_message(
    message: Mapping[str, Any], finish_reason: str | None, *, think_prefilled: bool = False
) -> ParsedReply:
    """Parse an assistant message of the chat completions API.

    The reasoning is in a key of its own or in tags. `think_prefilled`: the prompt ended in
    `<think>`, so that a text without a closing tag is unfinished reasoning.
    """
    text = _content_text(message.get("content"))
    separate = next((message[key] for key in _REASONING_KEYS if message.get(key) is not None), None)
    reasoning: str | None
    if separate is None:
        reasoning, content, problem = _split_tags(text, think_prefilled=think_prefilled)
    else:
        reasoning, content, problem = str(separate), text, None
        if any(tag in part for tag in (OPEN_THINK, CLOSE_THINK) for part in (reasoning, content)):
            problem = "reasoning in a key of its own and in tags"
    reasoning, content = reasoning and reasoning.strip(), content.strip()
    if problem is None and reasoning == "":
        problem = "the thought is empty"
    if problem is None and not content:
        problem = "there is no answer"
    if finish_reason == "length":
        problem = "truncated: max_tokens was reached"
    elif finish_reason is not None and finish_reason not in _COMPLETE:
        problem = f"finish_reason is {finish_reason}"
    return ParsedReply(reasoning_content=reasoning, content=content, problem=problem)


def _split_tags(text: str, *, think_prefilled: bool) -> tuple[str | None, str, str | None]:
    """(reasoning, answer, problem)."""
    opened, closed = text.count(OPEN_THINK), text.count(CLOSE_THINK)
    if not closed:
        if opened or think_prefilled:
            reasoning = text.partition(OPEN_THINK)[2] if opened else text
            return reasoning, "", "the thought never ends"
        return None, text, None
    before, _, after = text.partition(CLOSE_THINK)
    outside, tag, reasoning = before.partition(OPEN_THINK) if opened else ("", "", before)
    if opened and not tag:
        return before, after, "the thought ends before it begins"
    if opened > 1 or closed > 1:
        return reasoning, after, "more than one thought"
    return reasoning, after, "there is text before the thought" if outside.strip() else None


def _content_text(content: Any) -> str:
    """The content of a message is text, a list of parts, or null."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)


def num_reflection_words(text: str) -> int:
    """Return the number of words of reflection (DeepSeek-R1, arXiv 2501.12948v2, appendix C.2)."""
    return len(_REFLECTION.findall(text))
