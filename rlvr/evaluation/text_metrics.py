"""Text metrics of one completion that need no reward: language, readability, key points.

Repetition, mixed languages and poor readability are the weaknesses of DeepSeek-R1-Zero that its
paper reports (arXiv 2501.12948, section 2.2.4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewards import Outcome
from rewards.math.plain_numbers import plain_number
from rewards.shaping.language import LANGUAGES, grade_language
from rewards.shaping.words import Script, sentences
from rlvr.data.cleaning import filters
from rlvr.data.cleaning.filters import repetition_rate
from rlvr.data.reasoning_tags import Parts
from rlvr.types import Prompt

__all__ = [
    "FLAGS",
    "bullet_frac",
    "key_point_coverage",
    "language_mixing",
    "language_of_prompt",
    "num_paragraphs",
    "readability_flags",
    "repetition_rate",
]

FLAGS = (
    "mixed_language", "repeated", "long_paragraph", "code_in_thought", "unfinished_thought",
    "empty_answer",
)  # fmt: skip

_BULLET = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)、])\s*\S")
_BLANK_LINE = re.compile(r"\n\s*\n")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


def language_of_prompt(prompt: Prompt) -> str:
    """Return "zh" if most words of the (last) message are Chinese characters, else "en"."""
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    scripts = [word.script for sentence in sentences(text) for word in sentence]
    return "zh" if 2 * scripts.count(Script.HAN) > len(scripts) else "en"


def language_mixing(text: str, language: str) -> float | None:
    """Return the share of words not in `language`: 1 - R_language (equation 7 of the paper).

    None: the text has no word, or rewards.shaping.language does not know the language.
    """
    if language not in LANGUAGES:
        return None
    grade = grade_language({"content": "", "reasoning_content": text or " "}, language)
    has_no_word = grade.outcome is Outcome.NO_ANSWER
    return None if has_no_word else 1.0 - (grade.value or 0.0)


def readability_flags(parts: Parts, *, language: str) -> dict[str, bool]:
    """Return which problems make a completion hard to read; see rlvr.data.cleaning.filters."""
    thought = parts.thought or ""
    both = f"{thought}\n\n{parts.answer}"
    known = language in LANGUAGES
    return {
        "mixed_language": known and filters.mixed_language(both, language) is not None,
        "repeated": filters.repeated(both) is not None,
        "long_paragraph": filters.long_paragraph(both) is not None,
        "code_in_thought": filters.code_in_thought(thought) is not None,
        "unfinished_thought": parts.thought is not None and not parts.answer,
        "empty_answer": parts.thought is None and not parts.answer,
    }


def bullet_frac(answer: str) -> float:
    """Return the share of non-blank lines that are list items."""
    lines = [line for line in answer.splitlines() if line.strip()]
    return sum(_BULLET.match(line) is not None for line in lines) / len(lines) if lines else 0.0


def num_paragraphs(answer: str) -> int:
    """Return the number of blocks between blank lines."""
    return sum(bool(block.strip()) for block in _BLANK_LINE.split(answer))


def key_point_coverage(text: str, points: Sequence[object]) -> float | None:
    """Return the share of a task's `key_points` that a text has; None without points.

    A point is text (compared without case and white space), "re:PATTERN", or a number, which
    matches in any spelling of its value.

    Raises:
        ValueError: a pattern is not a valid regular expression.
    """
    return sum(_has_point(str(point), text) for point in points) / len(points) if points else None


def _has_point(point: str, text: str) -> bool:
    if point.startswith("re:"):
        try:
            return re.search(point.removeprefix("re:"), text, re.IGNORECASE) is not None
        except re.error as error:
            raise ValueError(f"key point {point!r}: {error}") from None
    value = plain_number(point)
    if value is None:
        return "".join(point.casefold().split()) in "".join(text.casefold().split())
    return any(plain_number(number.rstrip(",")) == value for number in _NUMBER.findall(text))
