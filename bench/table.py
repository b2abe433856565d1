"""Summarize measured steps as medians, ranges and ratios in a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.sides import MeasuredStep

__all__ = ["Speed", "markdown", "speed_of"]

TRL = "TRL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The speed of one side; rates are those of the median step."""

    num_steps: int
    step_s: float
    min_step_s: float
    max_step_s: float
    completions_per_s: float
    tokens_per_s: float  # completion tokens, without padding and prompts
    generate_s: float
    learn_s: float
    mean_tokens: float  # of a completion


def speed_of(steps: Sequence[MeasuredStep], *, num_completions: int) -> Speed:
    """Summarize the measured steps of all rounds; `num_completions` is that of one step."""
    step_s = [step.step_s for step in steps]
    return Speed(
        num_steps=len(steps),
        step_s=median(step_s),
        min_step_s=min(step_s),
        max_step_s=max(step_s),
        completions_per_s=num_completions / median(step_s),
        tokens_per_s=median(step.num_tokens / step.step_s for step in steps),
        generate_s=median(step.generate_s for step in steps),
        learn_s=median(step.learn_s for step in steps),
        mean_tokens=sum(step.num_tokens for step in steps) / (num_completions * len(steps)),
    )


def markdown(speeds: Mapping[str, Mapping[str, Speed]]) -> str:
    """Return a row per workload and side; ratios are relative to TRL in the same workload."""
    lines = [
        "| workload | side | step, s (range) | generate, s | learn, s | samples/s "
        "| useful tokens/s | samples/s to TRL | tokens/s to TRL | learner to TRL |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for workload, sides in speeds.items():
        lines += [_row(workload, side, speed, sides[TRL]) for side, speed in sides.items()]
    return "\n".join(lines)


def _row(workload: str, side: str, speed: Speed, trl: Speed) -> str:
    cells = [
        workload,
        side,
        f"{speed.step_s:.2f} ({speed.min_step_s:.2f} to {speed.max_step_s:.2f})",
        f"{speed.generate_s:.2f}",
        f"{speed.learn_s:.2f}",
        f"{speed.completions_per_s:.0f}",
        f"{speed.tokens_per_s:.0f}",
        f"{speed.completions_per_s / trl.completions_per_s:.2f}",
        f"{speed.tokens_per_s / trl.tokens_per_s:.2f}",
        f"{_learned_tokens_per_s(speed) / _learned_tokens_per_s(trl):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _learned_tokens_per_s(speed: Speed) -> float:
    """Completion tokens of the median step in each second of the learner's time."""
    return speed.tokens_per_s * speed.step_s / speed.learn_s
