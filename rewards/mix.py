"""RewardMix: the weighted sum of several rewards, each with its outcome and reason kept apart.

mix = RewardMix({"accuracy": RewardSpec(), "think_format": RewardSpec(weight=0.2)})
mix.grade(["<think>2+3</think><answer>5</answer>"], {"answer": ["5"]})[0].value == 1.2
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewards.grades import RewardResult
from rewards.registry import load_reward
from rewards.reward import Part, Reward
from rewards.transcript import resolve_think_prefilled

__all__ = ["RewardMix", "RewardSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSpec:
    """How a reward takes part in a mix."""

    weight: float = 1.0  # finite; negative for a punishment
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the reward
    only: Mapping[str, Any] = field(default_factory=dict)  # column -> value or list of values


@dataclass(frozen=True, slots=True)
class _Weighted:
    reward: Reward
    weight: float
    options: Mapping[str, Any]
    only: Mapping[str, Sequence[Any]]

    def applies_to(self, columns: Mapping[str, Any]) -> bool:
        """Whether it is called for a task with these columns."""
        return all(columns.get(name) in allowed for name, allowed in self.only.items())

    def rows_of(self, columns: Mapping[str, Sequence[Any]], num_rows: int) -> list[int]:
        """The rows of a batch that it is called for."""
        given = {name: columns[name] for name in self.only if name in columns}
        return [
            row
            for row in range(num_rows)
            if self.applies_to({name: entries[row] for name, entries in given.items()})
        ]


class RewardMix:
    """Rewards by name (registered, or "package.module:function") with weight and options.

    A spec is a RewardSpec, a mapping with its keys, or a bare weight. `only: {kind: [code]}` calls
    a reward for those rows alone whose column `kind` is "code". One that is not called is no part
    of a row's result; None from one that was called means that it could not grade. Everything that
    can be known to be wrong before the first call is a ValueError here: unknown names, options,
    weights.
    """

    def __init__(self, specs: Mapping[str, RewardSpec | Mapping[str, Any] | float]) -> None:
        if not specs:
            raise ValueError("a mix needs at least one reward")
        self._parts = {name: _weighted(name, spec) for name, spec in specs.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The rewards of the mix, in order."""
        return tuple(self._parts)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that a task must have, sorted."""
        needed = {name for part in self._parts.values() for name in part.reward.required_columns}
        options = {name for part in self._parts.values() for name in part.options}
        return tuple(sorted(needed - options))

    def columns_for(self, columns: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns that a task with these ones must have, sorted.

        Raises:
            ValueError: no reward is called for it.
        """
        called = [part for part in self._parts.values() if part.applies_to(columns)]
        if not called:
            raise ValueError("no reward is for it; look at their `only`")
        needed = {
            name
            for part in called
            for name in (*part.reward.required_columns, *part.only)
            if name not in part.options
        }
        return tuple(sorted(needed))

    @property
    def wants(self) -> tuple[str, ...]:
        """What some part takes of "completion_ids" and "prompts", sorted; the rest can be None."""
        return tuple(sorted({name for part in self._parts.values() for name in part.reward.wants}))

    @property
    def uses_sandbox(self) -> bool:
        """Whether some part runs programs."""
        return any(part.reward.uses_sandbox for part in self._parts.values())

    @property
    def ranges(self) -> dict[str, tuple[float, float] | None]:
        """Least and largest unweighted value of each reward; None: it has declared none."""
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
        """Grade completions, in order; `columns` hold one entry a completion.

        `prompts` and `completion_ids` are for functions that take them, as in TRL.

        Raises:
            ValueError: a column is missing or has another length, or a user's function gave
                anything but one finite float or None per completion.
        """
        self._check_columns(columns, len(completions))
        given = _Given(
            completions=completions,
            columns=columns,
            prompts=prompts,
            completion_ids=completion_ids,
            think_prefilled=resolve_think_prefilled(len(completions), think_prefilled, prompts),
        )
        graded: list[dict[str, Part]] = [{} for _ in completions]
        for name, part in self._parts.items():
            rows = part.rows_of(columns, len(completions))
            for row, result in zip(rows, given.graded_by(part, rows), strict=True):
                graded[row][name] = result
        return [self._result(row, parts) for row, parts in enumerate(graded)]

    def _check_columns(self, columns: Mapping[str, Sequence[Any]], num_completions: int) -> None:
        for column, entries in columns.items():
            if isinstance(entries, str) or len(entries) != num_completions:
                raise ValueError(
                    f"column {column!r} has not one entry for each of {num_completions} completions"
                )
        for name, part in self._parts.items():
            is_called = not part.only or part.rows_of(columns, num_completions)
            for column in (*part.only, *(part.reward.required_columns if is_called else ())):
                if column not in columns and column not in part.options:
                    there = ", ".join(sorted(columns)) or "none"
                    raise ValueError(f"reward {name!r} needs the column {column!r}; there: {there}")

    def _result(self, row: int, parts: Mapping[str, Part]) -> RewardResult:
        if not parts:
            raise ValueError(f"completion {row}: no reward is for its row; look at their `only`")
        values = {name: part.value for name, part in parts.items()}
        weighted = [
            self._parts[name].weight * value for name, value in values.items() if value is not None
        ]
        return RewardResult(
            value=math.fsum(weighted) if len(weighted) == len(values) else None,
            parts=values,
            outcomes={name: part.outcome for name, part in parts.items()},
            reasons={name: part.reason for name, part in parts.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What a call of the mix was given, and its rows."""

    completions: Sequence[object]
    columns: Mapping[str, Sequence[Any]]
    prompts: Sequence[object] | None
    completion_ids: Sequence[Sequence[int]] | None
    think_prefilled: Sequence[bool]

    def graded_by(self, part: _Weighted, rows: Sequence[int]) -> Sequence[Part]:
        """One Part for each of the rows."""
        if not rows:
            return []
        prompts, ids = self.prompts, self.completion_ids
        return part.reward.parts(
            [self.completions[row] for row in rows],
            {name: [entries[row] for row in rows] for name, entries in self.columns.items()},
            part.options,
            prompts=None if prompts is None else [prompts[row] for row in rows],
            completion_ids=None if ids is None else [ids[row] for row in rows],
            think_prefilled=[self.think_prefilled[row] for row in rows],
        )


def _weighted(name: str, spec: RewardSpec | Mapping[str, Any] | float) -> _Weighted:
    spec = _as_spec(name, spec)
    if not math.isfinite(spec.weight):
        raise ValueError(f"reward {name!r}: weight is {spec.weight}; it must be finite")
    reward = load_reward(name)
    for option in spec.options:
        if reward.options is not None and option not in reward.options:
            allowed = ", ".join(reward.options) or "none"
            raise ValueError(f"reward {name!r} has no option {option!r}; allowed: {allowed}")
    try:
        reward.check_options(spec.options)
    except ValueError as error:
        raise ValueError(f"reward {name!r}: {error}") from error
    return _Weighted(reward, float(spec.weight), dict(spec.options), _allowed_values(name, spec))


def _allowed_values(name: str, spec: RewardSpec) -> dict[str, Sequence[Any]]:
    if not isinstance(spec.only, Mapping):
        raise ValueError(f"reward {name!r}: only is {spec.only!r}; allowed: column: value or list")
    return {
        column: allowed if isinstance(allowed, list | tuple) else [allowed]
        for column, allowed in spec.only.items()
    }


def _as_spec(name: str, spec: RewardSpec | Mapping[str, Any] | float) -> RewardSpec:
    if isinstance(spec, RewardSpec):
        return spec
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        return RewardSpec(weight=spec)
    if isinstance(spec, Mapping) and set(spec) <= {"weight", "options", "only"}:
        return RewardSpec(**spec)
    raise ValueError(
        f"reward {name!r}: a spec is a weight, or weight, options and only, not {spec!r}"
    )
