"""Metrics of each training step, under stable names.

reward/      mean  std  NAME/mean  ungraded_frac
group/       no_signal_frac (of the whole rollout batch, the same for its mini-batches)
buffer/      stale  no_signal (groups dropped, left out since the last batch)  waiting  under_way
completion/  length/mean  length/max  truncated_frac  reflection_words/mean
policy/      entropy  clip_frac  kl  max_ratio_error
             staleness  staleness_mean (of tokens, in optimizer steps: largest, mean)
             old_tokens_frac (share of tokens of older versions)
             mismatch_kl  mismatch_median  mismatch_p99  mismatch_beyond_frac
             between learner and engine, over the loss tokens of the step: mean k3; quantiles of
             |log ratio| in nats; share of the tokens beyond checks.warn_mismatch (to warn: 1%)
learner/     loss  grad_norm
tokens/      completion  useful  computed  per_s
engine/      idle_frac (share of the step in which an engine had nothing to generate; mean)
sync/        probe_error (None without a sync: mini-batches are left, or the run was stopped)
time/        step_s = rollout_wait_s + learn_s + sync_s + other_s
             generate_s  grade_s (of the rollout batch, the same for its mini-batches; with
             max_staleness above 0 they overlap with the learner and are not part of step_s)
restarts/    run (by this process)  engines  reward_workers (both since the run was last started)
eval/        a line of its own for each evaluation
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlvr.data.reasoning_tags import num_reflection_words
from rlvr.grpo.advantages import has_signal
from rlvr.grpo.open_batch import BufferCounts
from rlvr.grpo.rollouts import RolloutBatch
from rlvr.types import FinishReason, Group, Rollout, StepReport

__all__ = ["StepTimes", "step_metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Wall time of a step by phase, in seconds; the phases do not overlap."""

    step_s: float
    learn_s: float
    rollout_wait_s: float = 0.0  # waiting for completions and grades
    sync_s: float = 0.0  # 0 without a sync

    @property
    def other_s(self) -> float:
        """The rest of the step."""
        return self.step_s - self.rollout_wait_s - self.learn_s - self.sync_s


def step_metrics(
    batch: RolloutBatch,
    groups: Sequence[Group],
    report: StepReport,
    times: StepTimes,
    *,
    step: int,
    counts: BufferCounts,
    engine_idle_s: float,
    probe_error: float | None,
) -> dict[str, Any]:
    """Return the line of metrics.jsonl for the step that produced policy version `step`.

    `groups` are the trained ones: those of the rollout batch, or of a mini-batch.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lengths = np.array([len(r.completion.token_ids) for r in rollouts])
    return {
        "step": step,
        **_reward_metrics(groups),
        "group/no_signal_frac": float(np.mean([not has_signal(group) for group in batch.groups])),
        "completion/length/mean": float(lengths.mean()),
        "completion/length/max": int(lengths.max()),
        "completion/truncated_frac": float(
            np.mean([r.completion.finish_reason is FinishReason.LENGTH for r in rollouts])
        ),
        "completion/reflection_words/mean": float(
            np.mean([num_reflection_words(r.completion.text) for r in rollouts])
        ),
        **_policy_metrics(report),
        **_staleness_metrics(rollouts, step=step - 1),
        **{f"buffer/{name}": value for name, value in asdict(counts).items()},
        "engine/idle_frac": min(1.0, engine_idle_s / times.step_s),
        "learner/loss": report.loss,
        "learner/grad_norm": report.grad_norm,
        "tokens/completion": int(lengths.sum()),
        "tokens/useful": report.num_tokens,
        "tokens/computed": report.num_computed_tokens,
        "tokens/per_s": int(lengths.sum()) / times.step_s,
        "sync/probe_error": probe_error,
        "time/step_s": times.step_s,
        "time/generate_s": batch.generate_s,
        "time/grade_s": batch.grade_s,
        "time/rollout_wait_s": times.rollout_wait_s,
        "time/learn_s": times.learn_s,
        "time/sync_s": times.sync_s,
        "time/other_s": times.other_s,
    }


def _staleness_metrics(rollouts: Sequence[Rollout], *, step: int) -> dict[str, float | int]:
    """Return the ages of the sampled tokens, in steps before `step`."""
    ages = [step - r.completion.policy_versions[r.completion.loss_mask] for r in rollouts]
    ages_of_all = np.concatenate([*ages, np.zeros(0, np.int32)])
    if not ages_of_all.size:
        return {"policy/staleness": 0, "policy/staleness_mean": 0.0, "policy/old_tokens_frac": 0.0}
    return {
        "policy/staleness": int(ages_of_all.max()),
        "policy/staleness_mean": float(ages_of_all.mean()),
        "policy/old_tokens_frac": float((ages_of_all > 0).mean()),
    }


def _policy_metrics(report: StepReport) -> dict[str, float | None]:
    """None where no group had a signal, so that no completion went through the model."""
    names = ["entropy", "clip_frac", "kl", "max_ratio_error"]
    names += ["mismatch_kl", "mismatch_median", "mismatch_p99", "mismatch_beyond_frac"]
    is_empty = report.num_loss_tokens == 0
    return {f"policy/{name}": None if is_empty else getattr(report, name) for name in names}


def _reward_metrics(groups: Sequence[Group]) -> dict[str, float | None]:
    rewards = [rollout.reward for group in groups for rollout in group.rollouts]
    values = [reward.value for reward in rewards if reward.value is not None]
    names = sorted({name for reward in rewards for name in reward.grades})
    parts = {
        name: [v for reward in rewards if (v := reward.values.get(name)) is not None]
        for name in names
    }
    return {
        "reward/mean": float(np.mean(values)) if values else None,
        "reward/std": float(np.std(values)) if values else None,
        **{f"reward/{name}/mean": float(np.mean(v)) if v else None for name, v in parts.items()},
        "reward/ungraded_frac": 1.0 - len(values) / len(rewards),
    }
