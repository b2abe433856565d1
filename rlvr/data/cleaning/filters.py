"""What one completion must keep to be trained on: pure functions, a reason to drop it or None.

DeepSeek-R1 (arXiv 2501.12948), section 2.3.3, drops thoughts with mixed languages, long paragraphs
and code blocks from what rejection sampling has found to be right; it gives no numbers, so the
limits are parameters, and the defaults ours. Repetition over 0.7 is the rule of the guides for
Chinese data.
"""

from __future__ import annotations

import re

from rewards import Outcome
from rewards.shaping.language import grade_language
from rewards.shaping.think_tags import grade_format
from rewards.transcript import after_thought, as_turn
from rlvr.data.cleaning.repetition import NGRAM, repetition_rate

__all__ = [
    "code_in_thought",
    "long_paragraph",
    "malformed",
    "mixed_language",
    "repeated",
    "truncated",
]

MIN_LANGUAGE_FRAC = 0.9
MAX_PARAGRAPH_CHARS = 2000
MAX_REPETITION = 0.7

_PARAGRAPH = re.compile(r"\n\s*\n")
_FENCE = re.compile(r"^[ \t]{0,3}(?:`{3}|~{3})", re.MULTILINE)


def mixed_language(
    thought: str, language: str, *, min_frac: float = MIN_LANGUAGE_FRAC
) -> str | None:
    """Too few words in `language`, a code of rewards.shaping.language; no word at all is no other
    language.

    Raises:
        ValueError: an unknown code.
    """
    grade = grade_language({"content": "", "reasoning_content": thought}, language)
    if grade.outcome is Outcome.NO_ANSWER or (grade.value or 0.0) >= min_frac:
        return None
    return f"language: {grade.reason}"


def long_paragraph(thought: str, *, max_chars: int = MAX_PARAGRAPH_CHARS) -> str | None:
    """A paragraph, which ends at an empty line, with more than `max_chars` characters."""
    longest = max(map(len, _PARAGRAPH.split(thought)))
    if longest <= max_chars:
        return None
    return f"paragraph: {longest} characters, over {max_chars}"


def code_in_thought(thought: str) -> str | None:
    """A fenced code block in the thought."""
    return "code: a code block in the thought" if _FENCE.search(thought) else None


def repeated(text: str, *, max_rate: float = MAX_REPETITION, ngram: int = NGRAM) -> str | None:
    """A text whose n-grams come again: its repetition rate is over `max_rate`."""
    rate = repetition_rate(text, ngram=ngram)
    return f"repetition: rate {rate:.2f}, over {max_rate:g}" if rate > max_rate else None


def malformed(
    completion: object, *, profile: str = "r1", think_prefilled: bool | None = None
) -> str | None:
    """A completion that does not keep the form of `think_format`'s profile."""
    grade = grade_format(completion, profile=profile, think_prefilled=think_prefilled)
    return None if grade.value == 1.0 else f"form: {grade.reason}"


def truncated(
    completion: object, *, finish_reason: str | None = None, think_prefilled: bool | None = None
) -> str | None:
    """A completion that ran into the token limit, or whose thought never ended."""
    if finish_reason == "length":
        return "truncated: it ran into the token limit"
    if after_thought(as_turn(completion), bool(think_prefilled)) is None:
        return "truncated: the thought was opened and never closed"
    return None
