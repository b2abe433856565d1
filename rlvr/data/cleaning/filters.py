"""Filters of samples: pure functions that return a reason to drop one, or None.

DeepSeek-R1 (arXiv 2501.12948, section 2.3.3) drops correct samples whose reasoning has mixed
languages, long paragraphs or code blocks; it gives no limits, so the defaults here are our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rewards import Outcome
from rewards.shaping.language import grade_language
from rewards.shaping.text_structure import grade_repetition
from rewards.shaping.think_tags import grade_format
from rewards.transcript import after_thought, as_turn
from rlvr.data.samples import answer_of, question_of

__all__ = [
    "code_in_thought",
    "long_paragraph",
    "malformed",
    "mixed_language",
    "repeated",
    "repetition_rate",
    "truncated",
    "wrong_form",
]

NGRAM = 3  # words of English, characters of Chinese
ROLES = ("system", "user", "assistant")

_PARAGRAPH = re.compile(r"\n\s*\n")
_FENCE = re.compile(r"^[ \t]{0,3}(?:`{3}|~{3})", re.MULTILINE)


def mixed_language(thought: str, language: str, *, min_frac: float = 0.9) -> str | None:
    """Too few words in `language`, a code of rewards.shaping.language; a text without words passes.

    Raises ValueError: an unknown code.
    """
    grade = grade_language({"content": "", "reasoning_content": thought}, language)
    if grade.outcome is Outcome.NO_ANSWER or (grade.value or 0.0) >= min_frac:
        return None
    return f"language: {grade.reason}"


def long_paragraph(thought: str, *, max_chars: int = 2000) -> str | None:
    """A paragraph, delimited by empty lines, of more than `max_chars` characters."""
    longest = max(map(len, _PARAGRAPH.split(thought)))
    return f"paragraph: {longest} characters, over {max_chars}" if longest > max_chars else None


def code_in_thought(thought: str) -> str | None:
    """A fenced code block in the reasoning."""
    return "code: a code block in the thought" if _FENCE.search(thought) else None


def repetition_rate(text: str, *, ngram: int = NGRAM) -> float:
    """Return 1 - unique n-grams / n-grams, in [0, 1): 2/3 for "so so so so" and bigrams."""
    value = grade_repetition(text, ngram_size=ngram, max_penalty=-1.0).value
    assert value is not None, "repetition is always gradable"
    return -value


def repeated(text: str, *, max_rate: float = 0.7, ngram: int = NGRAM) -> str | None:
    """A repetition rate over `max_rate`."""
    rate = repetition_rate(text, ngram=ngram)
    return f"repetition: rate {rate:.2f}, over {max_rate:g}" if rate > max_rate else None


def malformed(
    completion: object, *, profile: str = "r1", think_prefilled: bool | None = None
) -> str | None:
    """A completion without the format of `think_format`'s profile."""
    grade = grade_format(completion, profile=profile, think_prefilled=think_prefilled)
    return None if grade.value == 1.0 else f"form: {grade.reason}"


def truncated(
    completion: object, *, finish_reason: str | None = None, think_prefilled: bool | None = None
) -> str | None:
    """A completion that reached the token limit, or with unfinished reasoning."""
    if finish_reason == "length":
        return "truncated: it ran into the token limit"
    if after_thought(as_turn(completion), bool(think_prefilled)) is None:
        return "truncated: the thought was opened and never closed"
    return None


def wrong_form(sample: Mapping[str, Any]) -> str | None:
    """A column of the wrong type, or no question or answer.

    {"context": text, "task_desc": text, "steps": [text, ...], "answer": text or number,
     "domain": text, "messages": [{"role": "user", "content": text}, ...]}

    or the columns of rlvr.data.samples.
    """
    return next((f"form: {problem}" for problem in _form_problems(sample)), None)


def _form_problems(sample: Mapping[str, Any]) -> Iterator[str]:
    for name in ("context", "task_desc", "domain", "reasoning_content", "content", "language"):
        if not isinstance(sample.get(name), str | None):
            yield f"{name} is {_type_name(sample[name])}, not text"
    if not isinstance(sample.get("answer"), str | int | float | None):
        yield f"answer is {_type_name(sample['answer'])}, neither text nor a number"
    steps = sample.get("steps", [])
    if not isinstance(steps, list):
        yield f"steps is {_type_name(steps)}, not a list"
    for i, step in enumerate(steps):
        if not isinstance(step, str) or not step.strip():
            yield f"steps[{i}] is {_type_name(step)}, not text"
    for name in ("messages", "prompt"):
        messages = sample[name] if isinstance(sample.get(name), list) else []
        for i, message in enumerate(messages):
            if not isinstance(message, Mapping) or message.get("role") not in ROLES:
                yield f"{name}[{i}] has no role of {', '.join(ROLES)}"
            elif not isinstance(message.get("content"), str):
                yield f"{name}[{i}].content is {_type_name(message.get('content'))}, not text"
    if not question_of(sample).strip():
        yield "no question: neither context, task_desc, prompt nor messages has text"
    if not answer_of(sample).strip():
        yield "no answer: neither answer nor content has text"


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text" if value.strip() else "empty"
    names = {bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "an object")
