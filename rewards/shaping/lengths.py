r"""Rewards of length, in tokens: `overlong` punishes what is too long, `cosine_length` the rest.

`overlong` is DAPO's soft overlong punishment (arXiv 2503.14476, equation 13):

    R(y) =  0                                   where          |y| <= L_max - L_cache
           (L_max - L_cache - |y|) / L_cache    where  L_max - L_cache < |y| <= L_max
           -1                                   where  L_max < |y|

L_max is `max_tokens`, L_cache `cache_tokens`. It can only bite where completions may be longer than
L_max - L_cache.

`cosine_length` is the cosine reward of "Demystifying Long Chain-of-Thought Reasoning in LLMs"
(arXiv 2502.03373), with t the tokens and T `max_tokens`:

    CosFn(t, T, min, max) = min + (max - min) * (1 + cos(pi * min(t, T) / T)) / 2
    right: CosFn(t, T, min_value_correct, max_value_correct)    the shorter, the better
    wrong: CosFn(t, T, max_value_wrong, min_value_wrong)        the longer, the less bad

The paper's values are 2 to 1 for right and -10 to 0 for wrong; ours lie in [-1, 1], for a weight to
scale. t is held to T, since a cosine comes back: in open-r1 a right answer of 2T earns full marks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewards.grades import Grade, Outcome
from rewards.math.math_accuracy import accuracy

__all__ = [
    "COSINE_VALUES",
    "check_cosine",
    "check_overlong",
    "cosine_length",
    "grade_cosine",
    "grade_overlong",
    "lengths_of",
    "overlong",
]

COSINE_VALUES: Mapping[str, float] = {
    "min_value_wrong": -1.0,
    "max_value_wrong": -0.5,
    "min_value_correct": 0.5,
    "max_value_correct": 1.0,
}


def overlong(
    completions: Sequence[object],
    completion_ids: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    cache_tokens: int,
    **columns: object,
) -> list[float | None]:
    """0 for a completion short enough, down to -1 for one of `max_tokens`; never None.

        overlong(["..."], [[7] * 90], max_tokens=100, cache_tokens=20) == [-0.5]

    Raises:
        ValueError: tokens that are no positive whole numbers, a cache larger than the maximum, or
            no `completion_ids`.
    """
    lengths = lengths_of(completions, completion_ids)
    return [
        grade_overlong(num_tokens, max_tokens=max_tokens, cache_tokens=cache_tokens).value
        for num_tokens in lengths
    ]


def grade_overlong(num_tokens: int, *, max_tokens: int, cache_tokens: int) -> Grade:
    """`overlong` of one completion of so many tokens."""
    check_overlong({"max_tokens": max_tokens, "cache_tokens": cache_tokens})
    free_tokens = max_tokens - cache_tokens
    if num_tokens <= free_tokens:
        return Grade(value=0.0, outcome=Outcome.CORRECT, reason="")
    value = (free_tokens - num_tokens) / cache_tokens if num_tokens <= max_tokens else -1.0
    reason = f"{num_tokens} tokens, {free_tokens} are free"
    return Grade(value=value, outcome=Outcome.WRONG, reason=reason)


def check_overlong(options: Mapping[str, Any]) -> None:
    """Raises ValueError for tokens that are missing or make no sense."""
    _check_tokens("max_tokens", options)
    _check_tokens("cache_tokens", options)
    if options["cache_tokens"] > options["max_tokens"]:
        raise ValueError(
            f"cache_tokens is {options['cache_tokens']}; it must not be above max_tokens, "
            f"{options['max_tokens']}"
        )


def cosine_length(
    completions: Sequence[object],
    completion_ids: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    correct: Callable[..., Sequence[float | None]] = accuracy,
    min_value_wrong: float = COSINE_VALUES["min_value_wrong"],
    max_value_wrong: float = COSINE_VALUES["max_value_wrong"],
    min_value_correct: float = COSINE_VALUES["min_value_correct"],
    max_value_correct: float = COSINE_VALUES["max_value_correct"],
    **columns: Any,
) -> list[float | None]:
    """Right answers earn more the shorter, wrong ones lose more the shorter; None as `correct`.

    `correct` is a reward in TRL's form; it gets the completions and all columns, and 1 means right.
    The default, `accuracy`, needs the column `answer`.

    Raises:
        ValueError: values that are not in order or outside [-1, 1], or no `completion_ids`.
    """
    values = {
        "min_value_wrong": min_value_wrong,
        "max_value_wrong": max_value_wrong,
        "min_value_correct": min_value_correct,
        "max_value_correct": max_value_correct,
    }
    lengths = lengths_of(completions, completion_ids)
    marks = correct(completions=completions, completion_ids=completion_ids, **columns)
    return [
        grade_cosine(
            num_tokens, None if mark is None else mark >= 1, max_tokens=max_tokens, **values
        ).value
        for num_tokens, mark in zip(lengths, marks, strict=True)
    ]


def grade_cosine(
    num_tokens: int, is_right: bool | None, *, max_tokens: int, **values: float
) -> Grade:
    """`cosine_length` of one answer of so many tokens; `is_right=None`: nobody can tell."""
    check_cosine({"max_tokens": max_tokens, **values})
    value_of = {**COSINE_VALUES, **values}
    if is_right is None:
        return Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD, reason="right or wrong: unknown")
    low, high = value_of["min_value_correct"], value_of["max_value_correct"]
    if not is_right:
        low, high = value_of["max_value_wrong"], value_of["min_value_wrong"]
    progress = min(num_tokens, max_tokens) / max_tokens
    value = low + (high - low) * (1 + math.cos(math.pi * progress)) / 2
    return Grade(
        value=value,
        outcome=Outcome.CORRECT if is_right else Outcome.WRONG,
        reason=f"{'right' if is_right else 'wrong'}, {num_tokens} of {max_tokens} tokens",
    )


def check_cosine(options: Mapping[str, Any]) -> None:
    """Raises ValueError for options that make no sense."""
    _check_tokens("max_tokens", options)
    values = {name: options.get(name, default) for name, default in COSINE_VALUES.items()}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
            raise ValueError(f"{name} is {value!r}; it must be a number in [-1, 1]")
    names = list(values)
    for lower, upper in itertools.pairwise(names):
        if values[lower] > values[upper]:
            raise ValueError(f"{lower} is {values[lower]}, above {upper}, {values[upper]}")


def _check_tokens(name: str, options: Mapping[str, Any]) -> None:
    num_tokens = options.get(name)
    if isinstance(num_tokens, bool) or not isinstance(num_tokens, int) or num_tokens < 1:
        raise ValueError(f"{name} is {num_tokens!r}; it must be a whole number above 0")


def lengths_of(
    completions: Sequence[object], completion_ids: Sequence[Sequence[int]] | None
) -> list[int]:
    """The tokens of each completion; ValueError where there is not one list for each."""
    if completion_ids is None or len(completion_ids) != len(completions):
        found = "none" if completion_ids is None else f"{len(completion_ids)}"
        raise ValueError(f"completion_ids: needs {len(completions)} lists of tokens, not {found}")
    return [len(ids) for ids in completion_ids]
