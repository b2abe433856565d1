# ruff: noqa: RUF001 - Chinese punctuation is meant
r"""`reasoning_steps` and `repetition`: rewards of the structure of a text, reasoning and answer.

    reasoning_steps: R(y) = min(1, number of steps / num_steps)

open-r1's reward (huggingface/open-r1, rewards.py, reasoning_steps_reward; 3 steps), in English and
in Chinese, except that it counts the different texts after a mark: "First, First, First," earns
nothing. It rewards form alone: give it a small weight. docs/rewards.md shows the marks.

    repetition: R(y) = (1 - number of different n-grams / number of n-grams) * max_penalty

"Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), appendix C.2, in the form
of open-r1. The n-grams are of pieces: a run between spaces, case ignored, or one character of a
script without spaces; each character of a run longer than 100, so that "aaaa..." is repetition too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.base import Grade, Outcome, reward
from rewards.transcript import as_turn

__all__ = ["grade_repetition", "grade_steps", "reasoning_steps", "repetition"]

_MARK = re.compile(
    r"^[ \t]{0,8}(?:\d{1,3}[.)](?!\d)|[-*\u2022](?![-*])|[一二三四五六七八九十]{1,3}、)"
    r"|\bStep \d{1,3}\s?[:.]"
    r"|\b(?:First|Firstly|Second|Secondly|Third|Thirdly|Then|Next|Finally|Lastly),"
    r"|步骤\s?[\d一二三四五六七八九十]{1,3}\s?[:：]?|第[\d一二三四五六七八九十]{1,3}步\s?[,，:：]?"
    r"|(?:首先|其次|然后|接着|接下来|最后)\s?[,，:：]?",
    re.MULTILINE,
)
_NOISE = re.compile(r"[\W_]+")
_MIN_STEP_CHARS = 2
_TAGS = re.compile(r"</?(?:think|answer)>")

_MAX_PIECE_CHARS = 100
_NO_SPACES = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af"
)  # Thai, Lao, Burmese, Khmer, Kana, Han
_PIECE = re.compile(f"[{_NO_SPACES}]|[^\\s{_NO_SPACES}]+")


def _check_steps(options: Mapping[str, Any]) -> None:
    num_steps = options.get("num_steps", 3)
    if isinstance(num_steps, bool) or not isinstance(num_steps, int) or num_steps < 1:
        raise ValueError(f"num_steps is {num_steps!r}; it must be a whole number above 0")


@reward(options=("num_steps",), check_options=_check_steps)
def reasoning_steps(
    completions: Sequence[object], *, num_steps: int = 3, **columns: object
) -> list[Grade]:
    """Reward the share of `num_steps` steps in each completion, at most 1.

        reasoning_steps(["1. add both\n2. halve it"], num_steps=4) == [0.5]

    Raises:
        ValueError: `num_steps` is not a positive whole number.
    """
    return [grade_steps(completion, num_steps=num_steps) for completion in completions]


def grade_steps(completion: object, *, num_steps: int = 3) -> Grade:
    """Return the grade of one completion by `reasoning_steps`."""
    _check_steps({"num_steps": num_steps})
    turn = as_turn(completion)
    text = _TAGS.sub("\n", turn.text if turn.thought is None else f"{turn.thought}\n{turn.text}")
    steps = (_NOISE.sub("", step).casefold() for step in _MARK.split(text)[1:])
    num_found = len({step for step in steps if len(step) >= _MIN_STEP_CHARS})
    return Grade(
        value=min(1.0, num_found / num_steps),
        outcome=Outcome.CORRECT if num_found >= num_steps else Outcome.WRONG,
        reason=f"{num_found} of {num_steps} steps",
    )


def _check_repetition(options: Mapping[str, Any]) -> None:
    size, penalty = options.get("ngram_size", 3), options.get("max_penalty", -1.0)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 100:
        raise ValueError(f"ngram_size is {size!r}; it must be a whole number from 1 to 100")
    if isinstance(penalty, bool) or not isinstance(penalty, int | float) or not -1 <= penalty <= 0:
        raise ValueError(f"max_penalty is {penalty!r}; it must be a number in [-1, 0]")


@reward(
    value_range=(-1.0, 0.0), options=("ngram_size", "max_penalty"), check_options=_check_repetition
)
def repetition(
    completions: Sequence[object],
    *,
    ngram_size: int = 3,
    max_penalty: float = -1.0,
    **columns: object,
) -> list[Grade]:
    """Reward 0 without repetition, down to nearly `max_penalty`.

        repetition(["so so so so"], ngram_size=2) == [-2 / 3]

    Raises:
        ValueError: an n-gram size outside [1, 100], or a penalty outside [-1, 0].
    """
    return [
        grade_repetition(completion, ngram_size=ngram_size, max_penalty=max_penalty)
        for completion in completions
    ]


def grade_repetition(
    completion: object, *, ngram_size: int = 3, max_penalty: float = -1.0
) -> Grade:
    """Return the grade of one completion by `repetition`."""
    _check_repetition({"ngram_size": ngram_size, "max_penalty": max_penalty})
    turn = as_turn(completion)
    pieces = _pieces(turn.text if turn.thought is None else f"{turn.thought} {turn.text}")
    num_ngrams = len(pieces) - ngram_size + 1
    if num_ngrams < 1:
        return Grade(value=0.0, outcome=Outcome.CORRECT, reason=f"{len(pieces)} pieces")
    num_different = len(set(zip(*(pieces[start:] for start in range(ngram_size)), strict=False)))
    if num_different == num_ngrams:
        return Grade(value=0.0, outcome=Outcome.CORRECT)
    return Grade(
        value=(1 - num_different / num_ngrams) * max_penalty,
        outcome=Outcome.WRONG,
        reason=f"{num_different} different of {num_ngrams} {ngram_size}-grams",
    )


def _pieces(text: str) -> list[str]:
    found = _PIECE.findall(text.casefold())
    return [p for piece in found for p in (piece if len(piece) > _MAX_PIECE_CHARS else [piece])]
