"""Compare the numbers of a replayed step with those that the run stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.types import Group, StepReport

__all__ = ["Compared", "compare_step", "is_reproduced", "table_text", "verdict"]

Value = float | int | None

NAMES = {  # in metrics.jsonl: of a StepReport
    "learner/loss": "loss",
    "learner/grad_norm": "grad_norm",
    "policy/entropy": "entropy",
    "policy/clip_frac": "clip_frac",
    "policy/kl": "kl",
    "policy/mismatch_kl": "mismatch_kl",
    "tokens/useful": "num_tokens",
}
# Relative and absolute difference that rounding explains, by dtype: other threads, libraries or
# micro-batches add in another order. The loss of a step on the current policy is 0 but for
# rounding, and a token at a bound of the clip may fall on either side.
NOISE = {"float32": (1e-4, 1e-5), "bfloat16": (5e-2, 1e-2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A number of the step; None where no completion had a signal."""

    name: str
    stored: Value
    replayed: Value
    noise: float  # largest difference that rounding explains

    @property
    def is_equal(self) -> bool:
        """Whether both are the same float, bit by bit."""
        return self.stored == self.replayed

    @property
    def difference(self) -> float:
        """Replayed minus stored; infinite if only one of them is None."""
        if self.stored is None or self.replayed is None:
            return 0.0 if self.is_equal else float("inf")
        return self.replayed - self.stored

    @property
    def is_reproduced(self) -> bool:
        """Whether they differ by no more than rounding."""
        return self.is_equal or abs(self.difference) <= self.noise


def compare_step(
    stored: Mapping[str, Any], report: StepReport, groups: Sequence[Group], *, dtype: str
) -> list[Compared]:
    """Return the numbers of a line of metrics.jsonl with those of a replay of its step."""
    replayed: dict[str, Value] = {name: getattr(report, field) for name, field in NAMES.items()}
    if report.num_loss_tokens == 0:  # as in the metrics
        replayed |= {name: None for name in replayed if name.startswith("policy/")}
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    replayed["tokens/completion"] = sum(len(r.completion.token_ids) for r in rollouts)
    return [
        Compared(
            name=name,
            stored=stored[name],
            replayed=value,
            noise=0.0 if name.startswith("tokens/") else _noise(stored[name], dtype),
        )
        for name, value in replayed.items()
    ]


def _noise(stored: Value, dtype: str) -> float:
    relative, absolute = NOISE[dtype]
    return max(relative * abs(stored or 0.0), absolute)


def is_reproduced(numbers: Sequence[Compared]) -> bool:
    """Whether all differences are explained by rounding."""
    return all(one.is_reproduced for one in numbers)


def table_text(numbers: Sequence[Compared]) -> str:
    """Format as text: one line for each number."""
    rows = [("", "stored", "replayed", "difference"), *map(_cells, numbers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cells(one: Compared) -> tuple[str, str, str, str]:
    difference = "bitwise equal" if one.is_equal else f"{one.difference:+.2g}"
    return one.name, _number(one.stored), _number(one.replayed), difference


def _number(value: Value) -> str:
    return "-" if value is None else f"{value:.9g}"


def verdict(numbers: Sequence[Compared]) -> str:
    """Say in a line whether the step is reproduced, and what differs."""
    others = [one for one in numbers if not one.is_equal]
    if not others:
        return "reproduced: all numbers are bitwise equal"
    if is_reproduced(numbers):
        names = ", ".join(one.name for one in others)
        return f"reproduced, with floating-point noise in {names}"
    wrong = [
        f"{one.name} was {_number(one.stored)} and is {_number(one.replayed)}"
        for one in others
        if not one.is_reproduced
    ]
    return f"not reproduced: {', '.join(wrong)}"
