"""The recipe of a GRPO run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rlvr.config import GenerationStageConfig
from rlvr.config.sections import (
    CheckpointSection,
    ChecksSection,
    EvalSection,
    LearnerSection,
    LossSection,
    MixedTasksSection,
    PositiveInt,
    Rewards,
    RolloutSection,
    TrackersSection,
)

__all__ = ["GrpoConfig"]


class GrpoConfig(GenerationStageConfig):
    """A GRPO run."""

    stage: Literal["grpo"] = Field("grpo", description="which command the recipe is for")
    num_steps: PositiveInt = Field(description="optimizer steps")
    tasks: MixedTasksSection
    more_tasks: list[MixedTasksSection] = Field(
        [], description="further sources, mixed in by weight; a reward's `only` tells them apart"
    )
    rewards: Rewards = Field(description="name or pkg.module:function: weight and options")
    rollout: RolloutSection = RolloutSection()
    learner: LearnerSection = LearnerSection()
    loss: LossSection = LossSection()
    eval: EvalSection = EvalSection()
    checkpoint: CheckpointSection = CheckpointSection()
    checks: ChecksSection = ChecksSection()
    trackers: TrackersSection = TrackersSection()

    @model_validator(mode="after")
    def _rewards_are_there(self) -> GrpoConfig:
        if not any(reward.weight for reward in self.rewards.values()):
            raise ValueError("rewards: at least one reward with a weight that is not 0 is needed")
        return self

    @model_validator(mode="after")
    def _groups_divide_over_engines(self) -> GrpoConfig:
        tasks, engines = self.rollout.tasks_per_step, self.rollout.num_engines
        if tasks % engines:
            lower = tasks // engines * engines
            allowed = " or ".join(str(n) for n in (lower, lower + engines) if n)
            raise ValueError(
                f"rollout.tasks_per_step: {tasks} groups cannot be divided over "
                f"rollout.num_engines: {engines}; use {allowed}"
            )
        return self

    @model_validator(mode="after")
    def _correct_by_is_a_reward(self) -> GrpoConfig:
        if self.eval.correct_by not in (None, *self.rewards):
            raise ValueError(
                f"eval.correct_by: {self.eval.correct_by!r} is not one of the rewards: "
                + ", ".join(self.rewards)
            )
        return self

    @model_validator(mode="after")
    def _best_is_measured(self) -> GrpoConfig:
        if self.checkpoint.keep.best and not (self.eval.tasks and self.eval.every_steps):
            raise ValueError(
                "checkpoint.keep.best: the best checkpoints are those with the highest held-out "
                "pass@1; set eval.tasks and eval.every_steps"
            )
        return self

    @property
    def num_ranks(self) -> int:
        """Number of learner processes."""
        return self.learner.num_ranks

    @property
    def tasks_per_batch(self) -> int:
        """Number of tasks in a rollout batch."""
        return self.rollout.tasks_per_step * min(self.rollout.num_minibatches, self.num_steps)

    def steps_in_batch(self, first_step: int) -> int:
        """Return the number of optimizer steps of the rollout batch that starts at `first_step`."""
        num_minibatches = self.rollout.num_minibatches
        return min(num_minibatches - first_step % num_minibatches, self.num_steps - first_step)

    @property
    def colocated(self) -> bool:
        """Whether engines and learner never compute at the same time (on-policy)."""
        return self.rollout.max_staleness == 0
