"""How a cold start is written: the thought in the question's language, then a sentence for people.

In the paper people and a second model rewrite what R1-Zero found, and translate its thoughts (arXiv
2501.12948v2, B.3.2); in the toy world a thought has two words, and a dictionary will do.
"""

from __future__ import annotations

from typing import Any

from rewards.math.extract import StatedAnswer, read_answer
from rewards.shaping.language import grade_language
from rewards.transcript import after_thought, as_turn

__all__ = ["readable", "readable_summary", "summary_of", "translated"]

_WORDS = (("So ", "算得"), (", ok", ",好"))  # of a thought, in English and in Chinese
_SENTENCE = {"en": "The answer is \\boxed{{{answer}}}.", "zh": "答案是\\boxed{{{answer}}}。"}


def summary_of(answer: str, language: str) -> str:
    """A sentence with the answer in a box."""
    return _SENTENCE[language].format(answer=answer)


def translated(thought: str, language: str) -> str:
    """The words of a thought in `language`; the steps are the same in both."""
    for english, chinese in _WORDS:
        old, new = (chinese, english) if language == "en" else (english, chinese)
        thought = thought.replace(old, new)
    return thought


def readable(row: dict[str, Any]) -> dict[str, Any] | None:
    """A right row of R1-Zero in its question's language, with a sentence; for `rewrite`.

    None for one that was guessed.
    """
    if "=" not in row["reasoning_content"]:
        return None
    thought = translated(row["reasoning_content"], row["language"])
    content = summary_of(row["answer"], row["language"])
    completion = f" <think>{thought}</think>{content}"
    return {**row, "reasoning_content": thought, "content": content, "completion": completion}


def readable_summary(
    completions: list[Any], language: list[str], think_prefilled: Any = None, **columns: Any
) -> list[float]:
    """1 where what follows the thought states an answer in words of the row's language, else 0.

    A reward by its dotted path; the toy world's evaluation counts with it how many answers people
    can read.
    """
    is_open = bool(think_prefilled)
    return [
        float(_is_readable(completion, code, is_open))
        for completion, code in zip(completions, language, strict=True)
    ]


def _is_readable(completion: Any, language: str, think_prefilled: bool) -> bool:
    turn = as_turn(completion)
    rest = after_thought(turn, think_prefilled)
    if rest is None or not isinstance(read_answer(turn, think_prefilled), StatedAnswer):
        return False
    return grade_language({"content": "", "reasoning_content": rest}, language).value == 1.0
