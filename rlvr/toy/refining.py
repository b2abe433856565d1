"""Readable cold-start rows: the reasoning in the question's language, then a sentence.

In the paper, people and a second model rewrite and translate the output of R1-Zero (arXiv
2501.12948v2, B.3.2). Reasoning in the toy world has two words, so a dictionary suffices.
"""

from __future__ import annotations

from typing import Any

from rewards.math.extract import StatedAnswer, read_answer
from rewards.shaping.language import grade_language
from rewards.transcript import after_thought, as_turn
from rlvr.toy.corpus import CLOSE, LEAD

__all__ = ["readable", "readable_summary"]

_SENTENCE = {"en": "The answer is \\boxed{{{answer}}}.", "zh": "答案是\\boxed{{{answer}}}。"}


def readable(row: dict[str, Any]) -> dict[str, Any] | None:
    """Rewrite a right row of R1-Zero in its question's language; None for a guessed answer."""
    reasoning, language = row["reasoning_content"], row["language"]
    if "=" not in reasoning:
        return None
    other = "zh" if language == "en" else "en"
    for words in (LEAD, CLOSE):
        reasoning = reasoning.replace(words[other], words[language])
    content = _SENTENCE[language].format(answer=row["answer"])
    completion = f" <think>{reasoning}</think>{content}"
    return {**row, "reasoning_content": reasoning, "content": content, "completion": completion}


def readable_summary(
    completions: list[Any], language: list[str], think_prefilled: Any = None, **columns: Any
) -> list[float]:
    """Return 1 if the text after the reasoning answers in the row's language, else 0 (a reward)."""
    pairs = zip(completions, language, strict=True)
    return [float(_is_readable(one, code, bool(think_prefilled))) for one, code in pairs]


def _is_readable(completion: Any, language: str, think_prefilled: bool) -> bool:
    turn = as_turn(completion)
    rest = after_thought(turn, think_prefilled)
    if rest is None or not isinstance(read_answer(turn, think_prefilled), StatedAnswer):
        return False
    return grade_language({"content": "", "reasoning_content": rest}, language).value == 1.0
