"""What a reward is to a mix: a function over a batch, and what is known of it before a call.

A function of a user's own in TRL's form works as it is: keyword lists in, `list[float | None]` out.
Its parameters without a default are the columns that it needs; its outcome is the word "value". It
may declare its range: `short.value_range = (0.0, 1.0)`.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Batch", "GradeBatch", "Part", "Reward", "reward_of"]

_ON_DEMAND = ("completion_ids", "prompts")  # by us too, where the function takes them
_GIVEN = ("completions", "think_prefilled", *_ON_DEMAND)  # by us, not by a column of the data
_TRLS_OWN = ("environments", "log_extra", "log_metric", "trainer_state")  # of its trainer


class Part(NamedTuple):
    """One reward of one completion."""

    value: float | None
    outcome: str
    reason: str


class Batch(NamedTuple):
    completions: Sequence[object]
    columns: Mapping[str, Sequence[Any]]
    prompts: Sequence[object] | None
    completion_ids: Sequence[Sequence[int]] | None
    think_prefilled: Sequence[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """A reward that can be called on a batch, and what is known of it before."""

    name: str
    required_columns: tuple[str, ...]
    value_range: tuple[float, float] | None  # least and largest value; None: not declared
    options: tuple[str, ...] | None  # names that it takes; None: not declared
    grade: Callable[[Batch, Mapping[str, Any]], Sequence[Part]]
    check_options: Callable[[Mapping[str, Any]], None] = lambda options: None
    uses_sandbox: bool = False
    wants: tuple[str, ...] = ()  # of "completion_ids" and "prompts", what it is to be given

    def parts(
        self,
        completions: Sequence[object],
        columns: Mapping[str, Sequence[Any]],
        options: Mapping[str, Any],
        *,
        prompts: Sequence[object] | None,
        completion_ids: Sequence[Sequence[int]] | None,
        think_prefilled: Sequence[bool],
    ) -> Sequence[Part]:
        """One Part per completion."""
        batch = Batch(completions, columns, prompts, completion_ids, think_prefilled)
        return self.grade(batch, options)


GradeBatch = Callable[[Batch, Mapping[str, Any]], Sequence[Part]]


def reward_of(name: str, function: Callable[..., Any]) -> Reward:
    """A user's function. Raises ValueError where it wants what only TRL's trainer has."""
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    accepted = {parameter.name for parameter in named}
    required = [p.name for p in named if p.default is p.empty and p.name not in _GIVEN]
    for wanted in set(required).intersection(_TRLS_OWN):
        raise ValueError(
            f"reward {name!r} needs {wanted!r}, which only TRL's trainer has; give it a default"
        )

    def grade(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
        given = {
            **batch.columns,
            "completions": batch.completions,
            "prompts": batch.prompts,
            "completion_ids": batch.completion_ids,
            "think_prefilled": batch.think_prefilled,
            **options,
        }
        values = function(**{key: given[key] for key in given if takes_all or key in accepted})
        return [
            Part(value, "value", "") for value in _checked(name, values, len(batch.completions))
        ]

    return Reward(
        name=name,
        required_columns=tuple(required),
        value_range=getattr(function, "value_range", None),
        options=None if takes_all else tuple(sorted(accepted.difference(_GIVEN))),
        grade=grade,
        wants=tuple(key for key in _ON_DEMAND if takes_all or key in accepted),
    )


def _checked(name: str, values: object, num_completions: int) -> list[float | None]:
    """What a user's function gave back, or one line on what is wrong with it."""
    if not hasattr(values, "__len__") or not hasattr(values, "__iter__") or isinstance(values, str):
        kind = type(values).__name__
        raise ValueError(f"reward {name!r} gave {kind}; it must give a list of float or None")
    if len(values) != num_completions:
        raise ValueError(
            f"reward {name!r} gave {len(values)} values for {num_completions} completions"
        )
    return [_checked_value(name, row, value) for row, value in enumerate(values)]


def _checked_value(name: str, row: int, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(
            f"reward {name!r} gave {value!r} for completion {row}; it must be finite or None"
        )
    return float(value)
