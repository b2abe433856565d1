"""How long prompt, thought and answer are, in tokens: as the address counts, else estimated.

| tokens_counted_by  | where                                                               |
|--------------------|---------------------------------------------------------------------|
| usage              | the address counts the thought apart                                |
| usage, characters  | it counts thought and answer together: shared out by characters     |
| words              | it counts nothing: words, Chinese characters, marks                 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Usage", "read_usage", "token_lengths"]

_WORD = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\W_]+|[^\w\s]|_")


def token_lengths(
    usage: Usage, *, prompt: str, reasoning_content: str | None, content: str
) -> dict[str, Any]:
    """Columns of a row, named as in Chinese-DeepSeek-R1-Distill-data-110k, and who counted."""
    prompt_len, total, thought_len = (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
    )
    if prompt_len is None or total is None:
        texts = (prompt, reasoning_content or "", content)
        return _columns(*(len(_WORD.findall(text)) for text in texts), by="words")
    if thought_len is not None and thought_len <= total:
        return _columns(prompt_len, thought_len, total - thought_len, by="usage")
    num_chars = len(reasoning_content or "")
    share = num_chars / max(1, num_chars + len(content))
    thought_len = round(total * share)
    return _columns(prompt_len, thought_len, total - thought_len, by="usage, characters")


def _columns(prompt: int, thought: int, content: int, *, by: str) -> dict[str, Any]:
    return {
        "prompt_tokens_len": prompt,
        "reasoning_content_tokens_len": thought,
        "content_tokens_len": content,
        "tokens_counted_by": by,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a call, as the address counts them; None: it does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None  # thought and answer
    reasoning_tokens: int | None = None  # the thought's, among these


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


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
