"""Sections of stages that train: optimizer, loss, evaluation, checkpoints, checks, trackers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from rlvr.config.changes import Free, Neutral
from rlvr.config.sections import (
    Frac,
    NonNegativeFloat,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    Section,
    TasksSection,
)

__all__ = [
    "CheckpointSection",
    "ChecksSection",
    "EvalSection",
    "LearnerSection",
    "LossName",
    "LossSection",
    "RetentionSection",
    "TrackersSection",
]


class LearnerSection(Section):
    """Optimization with DeepSpeed."""

    num_ranks: PositiveInt = Field(1, description="data-parallel learner processes")
    zero_stage: Literal[0, 1, 2, 3] = Field(
        0, description="ZeRO stage; bfloat16 uses at least 1, to accumulate gradients in float32"
    )
    lr: Free[PositiveFloat] = Field(1e-6, description="peak learning rate of AdamW")
    lr_schedule: Free[Literal["constant", "linear", "cosine"]] = Field(
        "constant", description="after the warm-up, until the last step of the run"
    )
    min_lr_frac: Free[Frac] = Field(0.0, description="of lr, at the end of linear and cosine")
    warmup_steps: Free[NonNegativeInt] = Field(0, description="steps of linear warm-up")
    weight_decay: Free[NonNegativeFloat] = Field(0.0, description="of AdamW")
    max_grad_norm: Free[PositiveFloat] = Field(
        1.0, description="gradients are clipped to this norm"
    )
    token_budget: Neutral[PositiveInt] = Field(
        8192,
        description="tokens in a micro-batch; completions of a group share their prompt, which "
        "counts once, and nothing is padded",
    )
    gradient_checkpointing: Neutral[bool] = Field(
        False, description="less memory, a third more time"
    )
    offload: bool = Field(False, description="optimizer states in host memory; zero_stage >= 1")
    from_rollouts: PathText | None = Field(
        None, description="run whose stored batches are trained, one a step, without engines"
    )

    @model_validator(mode="after")
    def _offload_needs_zero(self) -> LearnerSection:
        if self.offload and self.zero_stage == 0:
            raise ValueError("offload: true needs zero_stage 1, 2 or 3 (it is 0)")
        return self


LossName = Literal["grpo", "dr_grpo", "dapo"]


class LossSection(Section):
    """The objective."""

    name: LossName = Field(
        "grpo",
        description="grpo: mean over completions of the mean over tokens; dapo: mean over tokens; "
        "dr_grpo: sum over tokens / max_tokens",
    )
    clip_low: Annotated[float, Field(gt=0)] = Field(0.2, description="ratio >= 1 - clip_low")
    clip_high: Annotated[float, Field(gt=0)] = Field(0.2, description="ratio <= 1 + clip_high")
    beta: NonNegativeFloat = Field(0.0, description="KL weight; 0: no reference")
    replace_reference_every: PositiveInt | None = Field(
        None, description="steps between replacements of the reference by the policy; null: never"
    )

    @model_validator(mode="after")
    def _reference_needs_beta(self) -> LossSection:
        if self.replace_reference_every and self.beta == 0:
            raise ValueError(
                "replace_reference_every needs beta > 0 (without the KL term there is no reference)"
            )
        return self


class EvalSection(Section):
    """Evaluation on held-out tasks during training."""

    tasks: TasksSection | None = Field(None, description="held-out tasks; null: no evaluation")
    every_steps: PositiveInt | None = Field(
        None, description="steps between evaluations; null: before the first, after the last only"
    )
    samples_per_task: PositiveInt = Field(1, description="completions of one task (k)")
    temperature: PositiveFloat = Field(1.0, description="sampling temperature")
    correct_by: str | None = Field(None, description="reward for pass@1; null: the first one")


class RetentionSection(Section):
    """Checkpoints that stay on disk; one that any of the three keys names is kept."""

    last: PositiveInt = Field(2, description="the newest ones; a run resumes from the newest")
    best: NonNegativeInt = Field(
        0, description="those with the highest held-out pass@1, among the evaluated ones"
    )
    every: PositiveInt | None = Field(
        None, description="those whose step is a multiple of this; null: none"
    )


def _expand_last(value: Any) -> Any:
    """Expand the short form `keep: 2` to `keep: {last: 2}`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"last": value}
    if not isinstance(value, dict | RetentionSection):
        raise ValueError("give a number, or {last: 2, best: 1, every: 100}")
    return value


class CheckpointSection(Section):
    """Checkpoints: to resume from, and models that every command reads as `runs/NAME@STEP`."""

    every_steps: PositiveInt = Field(50, description="steps between checkpoints; also at the end")
    keep: Annotated[RetentionSection, BeforeValidator(_expand_last)] = Field(
        RetentionSection(),
        description="number of newest ones, or {last: 2, best: 1, every: 100}",
    )


class ChecksSection(Section):
    """Self-checks; a run that fails one stops and names the reason."""

    warn_mismatch: PositiveFloat | None = Field(
        None,
        description="99th percentile of |log ratio| between learner and engine at the same "
        "weights, in nats, above which the run warns once; null: 0.001, bfloat16 0.2 (rounding of "
        "the toy model: 3e-6 and 0.05)",
    )
    max_mismatch: PositiveFloat | None = Field(
        None, description="the same, above which the run stops; null: 0.01, bfloat16 0.5"
    )
    max_probe_error: PositiveFloat | None = Field(
        None,
        description="log-prob error on the probe text after a sync, in nats; null: 0.001, in "
        "bfloat16 relative to that of the first sync (docs/runs.md)",
    )
    max_first_ratio_error: PositiveFloat | None = Field(
        None, description="|ratio - 1| at the first step; null: 0.01, in bfloat16 no limit"
    )
    max_ungraded_frac: Frac = Field(0.2, description="completions that no reward could grade")
    max_no_signal_batches: PositiveInt = Field(
        10, description="consecutive rollout batches in which every group has equal rewards"
    )
    preflight_tasks: NonNegativeInt = Field(
        20_000, description="rows whose gold must earn full reward; 0: none; endless source: 256"
    )
    preflight_s: PositiveFloat = Field(
        3.0, description="seconds of grading golds; rows that are left then are not graded"
    )
    max_bad_golds: NonNegativeInt = Field(0, description="preflight rows that may fail")

    def mismatch_limits(self, dtype: str) -> tuple[float, float]:
        """Return warn_mismatch and max_mismatch, or their defaults for the model's type."""
        warn, stop = (0.001, 0.01) if dtype == "float32" else (0.2, 0.5)
        return self.warn_mismatch or warn, self.max_mismatch or stop


class TrackersSection(Section):
    """Copies of metrics.jsonl for other tools.

    A tracker that cannot start is an error; one that fails later is switched off.
    """

    tensorboard: bool = Field(False, description="write event files to the run folder")
    wandb: bool = Field(
        False, description="metrics, config and completions to Weights & Biases; see WANDB_MODE"
    )
    completions_every_steps: PositiveInt = Field(
        10, description="steps between tables of completions (wandb)"
    )
