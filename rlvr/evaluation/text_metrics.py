"""What can be counted in one completion without knowing what is right.

Repetition, mixed languages and what makes a text hard to read are the weaknesses that the paper
names of DeepSeek-R1-Zero (arXiv 2501.12948, section 2.2.4).
"""

from __future__ import annotations

import re

from rewards.shaping.language import LANGUAGES, grade_language
from rewards.shaping.words import Script, sentences
from rlvr.data.cleaning import filters
from rlvr.data.cleaning.repetition import repetition_rate
from rlvr.data.reasoning_tags import Parts

__all__ = [
    "FLAGS",
    "bullet_frac",
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


def language_of_prompt(text: str) -> str:
    """ "zh" where most words are Chinese characters, else "en"; for tasks that do not say."""
    scripts = [word.script for sentence in sentences(text) for word in sentence]
    return "zh" if 2 * scripts.count(Script.HAN) > len(scripts) else "en"


def language_mixing(text: str, language: str) -> float | None:
    """Share of the words that are not `language`: 1 - R_language (equation 7 of the paper).

    None where there is no word, or the language is none of rewards.shaping.language.
    """
    if language not in LANGUAGES:
        return None
    grade = grade_language({"content": "", "reasoning_content": text or " "}, language)
    return None if grade.reason == "no word in the thought" else 1.0 - (grade.value or 0.0)


def readability_flags(parts: Parts, *, language: str) -> dict[str, bool]:
    """What makes a completion hard to read; the limits are those of rlvr.data.cleaning.filters."""
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
    """Share of the lines with something on them that are items of a list."""
    lines = [line for line in answer.splitlines() if line.strip()]
    return sum(_BULLET.match(line) is not None for line in lines) / len(lines) if lines else 0.0


def num_paragraphs(answer: str) -> int:
    """Blocks between empty lines."""
    return sum(bool(block.strip()) for block in _BLANK_LINE.split(answer))
