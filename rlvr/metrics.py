"""What is measured at each step, under names that stay, and the file that keeps it.

reward/      mean  std  NAME/mean  ungraded_frac
group/       no_signal_frac: of the whole harvest, whose mini-batches have it alike
completion/  length/mean  length/max  truncated_frac  reflection_words/mean
policy/      entropy  clip_frac  kl  mismatch_kl  max_ratio_error  staleness (optimizer steps)
learner/     loss  grad_norm
tokens/      completion  useful  computed  per_s
sync/        probe_error (None: no sync: the harvest has mini-batches left, or the run was stopped)
time/        step_s = harvest_wait_s + learn_s + sync_s + other_s
             generate_s  grade_s: of the harvest that was trained, at each of its mini-batches;
             with max_staleness above 0 they lie behind the learner's time and not in the step's
eval/        an evaluation has a line of its own
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.advantages import has_signal
from rlvr.disk import written
from rlvr.harvest import Harvest
from rlvr.reflection import num_reflection_words
from rlvr.types import FinishReason, Group, StepReport

__all__ = ["MetricsFile", "StepTimes", "step_metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Where the wall time of a step went, in seconds; the parts do not overlap."""

    step_s: float
    learn_s: float
    # the controller had nothing to do but wait for completions and grades
    harvest_wait_s: float = 0.0
    sync_s: float = 0.0  # 0: between mini-batches, or where the run was stopped before it

    @property
    def other_s(self) -> float:
        """What is none of generation, grading, learning and sync."""
        return self.step_s - self.harvest_wait_s - self.learn_s - self.sync_s


def step_metrics(
    harvest: Harvest,
    groups: Sequence[Group],
    report: StepReport,
    times: StepTimes,
    *,
    step: int,
    staleness: int,
    probe_error: float | None,
) -> dict[str, Any]:
    """One line of metrics.jsonl for the step that made policy version `step`.

    `groups` are what it trained: the harvest's, or a mini-batch's share of them.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lengths = np.array([len(r.completion.token_ids) for r in rollouts])
    return {
        "step": step,
        **_reward_metrics(groups),
        "group/no_signal_frac": float(np.mean([not has_signal(group) for group in harvest.groups])),
        "completion/length/mean": float(lengths.mean()),
        "completion/length/max": int(lengths.max()),
        "completion/truncated_frac": float(
            np.mean([r.completion.finish_reason is FinishReason.LENGTH for r in rollouts])
        ),
        "completion/reflection_words/mean": float(
            np.mean([num_reflection_words(r.completion.text) for r in rollouts])
        ),
        **_policy_metrics(report),
        "policy/staleness": staleness,
        "learner/loss": report.loss,
        "learner/grad_norm": report.grad_norm,
        "tokens/completion": int(lengths.sum()),
        "tokens/useful": report.num_tokens,
        "tokens/computed": report.num_computed_tokens,
        "tokens/per_s": int(lengths.sum()) / times.step_s,
        "sync/probe_error": probe_error,
        "time/step_s": times.step_s,
        "time/generate_s": harvest.generate_s,
        "time/grade_s": harvest.grade_s,
        "time/harvest_wait_s": times.harvest_wait_s,
        "time/learn_s": times.learn_s,
        "time/sync_s": times.sync_s,
        "time/other_s": times.other_s,
    }


def _policy_metrics(report: StepReport) -> dict[str, float | None]:
    """None where no completion went through the model, because no group had a signal."""
    names = ("entropy", "clip_frac", "kl", "mismatch_kl", "max_ratio_error")
    is_empty = report.num_loss_tokens == 0
    return {f"policy/{name}": None if is_empty else getattr(report, name) for name in names}


def _reward_metrics(groups: Sequence[Group]) -> dict[str, float | None]:
    rewards = [rollout.reward for group in groups for rollout in group.rollouts]
    values = [reward.value for reward in rewards if reward.value is not None]
    names = sorted({name for reward in rewards for name in reward.parts})
    parts = {
        name: [v for reward in rewards if (v := reward.parts.get(name)) is not None]
        for name in names
    }
    return {
        "reward/mean": float(np.mean(values)) if values else None,
        "reward/std": float(np.std(values)) if values else None,
        **{f"reward/{name}/mean": float(np.mean(v)) if v else None for name, v in parts.items()},
        "reward/ungraded_frac": 1.0 - len(values) / len(rewards),
    }


class MetricsFile:
    """metrics.jsonl: one JSON object a line, in the order of steps."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[dict[str, Any]]:
        """All lines; a last line that a kill cut in half is left out."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line."""
        with written(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop later steps and the evaluation of `step` itself: a resumed run makes them again."""
        kept = [
            line
            for line in self.lines()
            if line["step"] < step or (line["step"] == step and "eval/pass_at_1" not in line)
        ]
        aside = self._path.with_name(self._path.name + ".tmp")
        with written(self._path):
            aside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            aside.replace(self._path)
