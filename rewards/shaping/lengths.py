r"""Rewards of length in tokens: `overlong` penalizes only long completions, `cosine_length` scales.

`overlong` is DAPO's soft overlong punishment (arXiv 2503.14476, equation 13), where L_max is
`max_tokens` and L_cache `cache_tokens`:

    R(y) =  0                                   where          |y| <= L_max - L_cache
           (L_max - L_cache - |y|) / L_cache    where  L_max - L_cache < |y| <= L_max
           -1                                   where  L_max < |y|

`cosine_length` is the cosine reward of arXiv 2502.03373, with t the tokens and T `max_tokens`:

    CosFn(t, T, min, max) = min + (max - min) * (1 + cos(pi * min(t, T) / T)) / 2
    right: CosFn(t, T, min_value_correct, max_value_correct)    the shorter, the better
    wrong: CosFn(t, T, max_value_wrong, min_value_wrong)        the longer, the less bad

The paper's values are 2 to 1 for right and -10 to 0 for wrong; here they are in [-1, 1]. t is
clamped to T, since a cosine is periodic: in open-r1 a right answer of 2T tokens earns 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewards.base import Grade, Outcome, one_each, reward
from rewards.math.math_accuracy import accuracy

__all__ = ["cosine_length", "grade_cosine", "grade_overlong", "overlong"]

_COSINE_VALUES = {
    "min_value_wrong": -1.0,
    "max_value_wrong": -0.5,
    "min_value_correct": 0.5,
    "max_value_correct": 1.0,
}


def _check_overlong(options: Mapping[str, Any]) -> None:
    _check_tokens("max_tokens", options)
    _check_tokens("cache_tokens", options)
    if options["cache_tokens"] > options["max_tokens"]:
        raise ValueError(
            f"cache_tokens is {options['cache_tokens']}; it must not be above max_tokens, "
            f"{options['max_tokens']}"
        )


@reward(
    value_range=(-1.0, 0.0),
    options=("max_tokens", "cache_tokens"),
    wants=("completion_ids",),
    check_options=_check_overlong,
)
def overlong(
    completions: Sequence[object],
    completion_ids: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    cache_tokens: int,
    **columns: object,
) -> list[Grade]:
    """Reward 0 for a short completion, down to -1 at `max_tokens`.

        overlong(["..."], [[7] * 90], max_tokens=100, cache_tokens=20) == [-0.5]

    Raises:
        ValueError: tokens that are not positive whole numbers, a cache above the maximum, or no
            `completion_ids`.
    """
    return [
        grade_overlong(num_tokens, max_tokens=max_tokens, cache_tokens=cache_tokens)
        for num_tokens in map(len, one_each("completion_ids", completion_ids, len(completions)))
    ]


def grade_overlong(num_tokens: int, *, max_tokens: int, cache_tokens: int) -> Grade:
    """Return the grade of a completion of `num_tokens` by `overlong`."""
    _check_overlong({"max_tokens": max_tokens, "cache_tokens": cache_tokens})
    free_tokens = max_tokens - cache_tokens
    if num_tokens <= free_tokens:
        return Grade(value=0.0, outcome=Outcome.CORRECT)
    value = (free_tokens - num_tokens) / cache_tokens if num_tokens <= max_tokens else -1.0
    reason = f"{num_tokens} tokens, {free_tokens} are free"
    return Grade(value=value, outcome=Outcome.WRONG, reason=reason)


def _check_cosine(options: Mapping[str, Any]) -> None:
    _check_tokens("max_tokens", options)
    values = {name: options.get(name, default) for name, default in _COSINE_VALUES.items()}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
            raise ValueError(f"{name} is {value!r}; it must be a number in [-1, 1]")
    for lower, upper in itertools.pairwise(values):
        if values[lower] > values[upper]:
            raise ValueError(f"{lower} is {values[lower]}, above {upper}, {values[upper]}")


@reward(
    value_range=(-1.0, 1.0),
    columns=("answer",),
    options=("max_tokens", *_COSINE_VALUES),
    wants=("completion_ids",),
    check_options=_check_cosine,
)
def cosine_length(
    completions: Sequence[object],
    completion_ids: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    correct: Callable[..., Sequence[float | None]] = accuracy,
    min_value_wrong: float = _COSINE_VALUES["min_value_wrong"],
    max_value_wrong: float = _COSINE_VALUES["max_value_wrong"],
    min_value_correct: float = _COSINE_VALUES["min_value_correct"],
    max_value_correct: float = _COSINE_VALUES["max_value_correct"],
    **columns: Any,
) -> list[Grade]:
    """Reward right answers more the shorter they are, and wrong ones less.

    `correct` is a reward in TRL's form, called with the completions and all columns; 1 means right,
    and None gives None. The default, `accuracy`, needs the column `answer`.

    Raises:
        ValueError: values that are not in order or outside [-1, 1], or no `completion_ids`.
    """
    values = {
        "min_value_wrong": min_value_wrong,
        "max_value_wrong": max_value_wrong,
        "min_value_correct": min_value_correct,
        "max_value_correct": max_value_correct,
    }
    lengths = map(len, one_each("completion_ids", completion_ids, len(completions)))
    marks = correct(completions=completions, completion_ids=completion_ids, **columns)
    return [
        grade_cosine(num_tokens, None if m is None else m >= 1, max_tokens=max_tokens, **values)
        for num_tokens, m in zip(lengths, marks, strict=True)
    ]


def grade_cosine(
    num_tokens: int, is_right: bool | None, *, max_tokens: int, **values: float
) -> Grade:
    """Return the grade by `cosine_length` with its `values`; `is_right=None`: nobody can tell."""
    _check_cosine({"max_tokens": max_tokens, **values})
    value_of = {**_COSINE_VALUES, **values}
    if is_right is None:
        return Grade.of(Outcome.UNGRADABLE_GOLD, "right or wrong: unknown")
    low, high = value_of["min_value_correct"], value_of["max_value_correct"]
    if not is_right:
        low, high = value_of["max_value_wrong"], value_of["min_value_wrong"]
    progress = min(num_tokens, max_tokens) / max_tokens
    return Grade(
        value=low + (high - low) * (1 + math.cos(math.pi * progress)) / 2,
        outcome=Outcome.CORRECT if is_right else Outcome.WRONG,
        reason=f"{'right' if is_right else 'wrong'}, {num_tokens} of {max_tokens} tokens",
    )


def _check_tokens(name: str, options: Mapping[str, Any]) -> None:
    num_tokens = options.get(name)
    if isinstance(num_tokens, bool) or not isinstance(num_tokens, int) or num_tokens < 1:
        raise ValueError(f"{name} is {num_tokens!r}; it must be a whole number above 0")
