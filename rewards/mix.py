"""RewardMix: the weighted sum of several rewards, with the grade of each kept apart.

mix = RewardMix({"accuracy": RewardSpec(), "think_format": RewardSpec(weight=0.2)})
mix.grade(["<think>2+3</think><answer>5</answer>"], {"answer": ["5"]})[0].value == 1.2
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from rewards.base import REGISTERED, Grade, Reward, RewardResult, load_reward, one_each
from rewards.transcript import resolve_think_prefilled

__all__ = ["RewardMix", "RewardSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSpec:
    """The part of one reward in a mix."""

    weight: float = 1.0  # finite; negative for a penalty
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the reward
    only: Mapping[str, Any] = field(default_factory=dict)  # column -> value or list of values


class RewardMix:
    """Rewards by name (registered, or "package.module:function") with weight and options.

    A spec is a RewardSpec, a mapping with its keys, or a bare weight. `only: {kind: [code]}` calls
    a reward only for rows whose column `kind` is "code"; a reward that is not called is not part of
    the row's result. Each reward is called within `timed(name)`, which may measure it.

    Raises:
        ValueError: an unknown reward, option or key, or a value of them that is not allowed.
    """

    def __init__(
        self,
        specs: Mapping[str, RewardSpec | Mapping[str, Any] | float],
        *,
        timed: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        if not specs:
            raise ValueError("a mix needs at least one reward")
        self._parts = {name: _weighted(name, spec) for name, spec in specs.items()}
        self._timed = timed

    @property
    def names(self) -> tuple[str, ...]:
        """The rewards of the mix, in order."""
        return tuple(self._parts)

    @property
    def tried(self) -> tuple[str, ...]:
        """The rewards that may be called before the actors of a run start."""
        return tuple(name for name, part in self._parts.items() if part.reward.is_tried)

    def applies(self, name: str, columns: Mapping[str, Any]) -> bool:
        """Whether a reward of the mix is called for a task with these columns."""
        return self._parts[name].applies_to(columns)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that some reward needs, sorted."""
        needed = {name for part in self._parts.values() for name in part.reward.required_columns}
        options = {name for part in self._parts.values() for name in part.options}
        return tuple(sorted(needed - options))

    def columns_for(self, columns: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the columns that the rewards of a task with these columns need, sorted.

        Raises:
            ValueError: no reward applies to the task.
        """
        called = [part for part in self._parts.values() if part.applies_to(columns)]
        if not called:
            raise ValueError("no reward applies to it; check their `only`")
        needed = {
            name
            for part in called
            for name in (*part.reward.required_columns, *part.only)
            if name not in part.options
        }
        return tuple(sorted(needed))

    def missing_column(self, columns: Mapping[str, Any]) -> tuple[str, str] | None:
        """Return a reward and a column that it needs for a task with these columns, if one is
        missing.

        A registered reward needs a value; a user's function may get None, as in TRL.
        """
        for name, part in self._parts.items():
            if part.applies_to(columns):
                for column in (*part.only, *part.reward.required_columns):
                    is_empty = name in REGISTERED and columns.get(column) is None
                    if column not in part.options and (column not in columns or is_empty):
                        return name, column
        return None

    @property
    def accepted_columns(self) -> frozenset[str] | None:
        """The columns that some reward takes or `only` reads; None: any, and all are needed."""
        accepted: set[str] = set()
        for part in self._parts.values():
            if part.reward.accepts is None:
                return None
            accepted |= {*part.reward.accepts, *part.only}
        return frozenset(accepted)

    @property
    def only_columns(self) -> frozenset[str]:
        """The columns that `only` of some reward reads."""
        return frozenset(column for part in self._parts.values() for column in part.only)

    @property
    def wants(self) -> tuple[str, ...]:
        """Names among "completion_ids" and "prompts" that some reward takes, sorted."""
        return tuple(sorted({name for part in self._parts.values() for name in part.reward.wants}))

    @property
    def uses_sandbox(self) -> bool:
        """Whether some reward runs programs."""
        return any(part.reward.uses_sandbox for part in self._parts.values())

    @property
    def ranges(self) -> dict[str, tuple[float, float] | None]:
        """Least and largest unweighted value of each reward; None: not declared."""
        return {name: part.reward.value_range for name, part in self._parts.items()}

    def grade(
        self,
        completions: Sequence[object],
        columns: Mapping[str, Sequence[Any]],
        *,
        prompts: Sequence[object] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
        think_prefilled: bool | Sequence[bool] | None = None,
    ) -> list[RewardResult]:
        """Return one result per completion, in order; each column has one entry per completion.

        `prompts` and `completion_ids` are passed to the rewards that take them, as in TRL.

        Raises:
            ValueError: a column is missing or has another length, no reward applies to a row, or a
                user's function returned anything but one finite float or None per completion.
        """
        self._check_columns(columns, len(completions))
        flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
        arguments: dict[str, Sequence[Any] | None] = {
            **columns,
            "completions": completions,
            "prompts": prompts,
            "completion_ids": completion_ids,
            "think_prefilled": flags,
        }
        graded: list[dict[str, Grade]] = [{} for _ in completions]
        for name, part in self._parts.items():
            if rows := part.rows_of(columns, len(completions)):
                selected = {
                    name: None if entries is None else [entries[row] for row in rows]
                    for name, entries in arguments.items()
                }
                with self._timed(name):
                    grades = part.reward.grade(selected, part.options)
                for row, grade in zip(rows, grades, strict=True):
                    graded[row][name] = grade
        return [self._result(row, grades) for row, grades in enumerate(graded)]

    def _check_columns(self, columns: Mapping[str, Sequence[Any]], num_completions: int) -> None:
        for column, entries in columns.items():
            one_each(f"column {column!r}", entries, num_completions)
        for name, part in self._parts.items():
            is_called = not part.only or part.rows_of(columns, num_completions)
            for column in (*part.only, *(part.reward.required_columns if is_called else ())):
                if column not in columns and column not in part.options:
                    found = ", ".join(sorted(columns)) or "none"
                    raise ValueError(f"reward {name!r} needs the column {column!r}; found: {found}")

    def _result(self, row: int, grades: Mapping[str, Grade]) -> RewardResult:
        if not grades:
            raise ValueError(f"completion {row}: no reward applies to its row; check their `only`")
        weighted = [
            self._parts[name].weight * grade.value
            for name, grade in grades.items()
            if grade.value is not None
        ]
        value = math.fsum(weighted) if len(weighted) == len(grades) else None
        return RewardResult(value=value, grades=grades)


@dataclass(frozen=True, slots=True)
class _Weighted:
    reward: Reward
    weight: float
    options: Mapping[str, Any]
    only: Mapping[str, Sequence[Any]]

    def applies_to(self, columns: Mapping[str, Any]) -> bool:
        """Whether the reward is called for a task with these columns."""
        return all(columns.get(name) in allowed for name, allowed in self.only.items())

    def rows_of(self, columns: Mapping[str, Sequence[Any]], num_rows: int) -> list[int]:
        """Return the rows of a batch that the reward is called for."""
        given = {name: columns[name] for name in self.only if name in columns}
        return [
            row
            for row in range(num_rows)
            if self.applies_to({name: entries[row] for name, entries in given.items()})
        ]


def _weighted(name: str, spec: RewardSpec | Mapping[str, Any] | float) -> _Weighted:
    if isinstance(spec, Mapping) and set(spec) <= {"weight", "options", "only"}:
        spec = RewardSpec(**spec)
    elif isinstance(spec, int | float) and not isinstance(spec, bool):
        spec = RewardSpec(weight=spec)
    if not isinstance(spec, RewardSpec):
        raise ValueError(
            f"reward {name!r}: a spec is a weight, or weight, options and only, not {spec!r}"
        )
    if not math.isfinite(spec.weight):
        raise ValueError(f"reward {name!r}: weight is {spec.weight}; it must be finite")
    if not isinstance(spec.only, Mapping):
        raise ValueError(f"reward {name!r}: only is {spec.only!r}; allowed: column: value or list")
    reward = load_reward(name)
    for option in spec.options:
        if reward.options is not None and option not in reward.options:
            allowed = ", ".join(reward.options) or "none"
            raise ValueError(f"reward {name!r} has no option {option!r}; allowed: {allowed}")
    try:
        reward.check_options(spec.options)
    except ValueError as error:
        raise ValueError(f"reward {name!r}: {error}") from error
    only = {
        column: allowed if isinstance(allowed, list | tuple) else [allowed]
        for column, allowed in spec.only.items()
    }
    return _Weighted(reward, float(spec.weight), dict(spec.options), only)
