"""The recipe of a GRPO run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from rlvr.config import GenerationStageConfig
from rlvr.config.changes import Free, Neutral
from rlvr.config.sections import (
    MixedTasksSection,
    PositiveFloat,
    PositiveInt,
    Rewards,
    RolloutSection,
)
from rlvr.config.training_sections import (
    CheckpointSection,
    ChecksSection,
    EvalSection,
    LearnerSection,
    LossSection,
    TrackersSection,
)
from rlvr.errors import ConfigError

__all__ = ["EVAL_TASKS", "GrpoConfig"]

EVAL_TASKS = "eval.tasks"  # section of the held-out tasks


class GrpoConfig(GenerationStageConfig):
    """A GRPO run; `from=runs/X` names another run as its model.path."""

    shorthands: ClassVar[Mapping[str, str]] = {"from": "model.path"}

    stage: Literal["grpo"] = Field("grpo", description="which command the recipe is for")
    num_steps: Free[PositiveInt | None] = Field(None, description="optimizer steps")
    num_epochs: Free[PositiveFloat | None] = Field(
        None, description="passes over the tasks, instead of num_steps"
    )
    tasks: MixedTasksSection
    more_tasks: list[MixedTasksSection] = Field(
        [], description="further sources, mixed in by weight; a reward's `only` tells them apart"
    )
    rewards: Rewards = Field(description="name or pkg.module:function: weight and options")
    rollout: RolloutSection = RolloutSection()
    learner: LearnerSection = LearnerSection()
    loss: LossSection = LossSection()
    eval: Free[EvalSection] = EvalSection()
    checkpoint: Neutral[CheckpointSection] = CheckpointSection()
    checks: Neutral[ChecksSection] = ChecksSection()
    trackers: Neutral[TrackersSection] = TrackersSection()

    @model_validator(mode="after")
    def _has_a_length(self) -> GrpoConfig:
        if (self.num_steps is None) == (self.num_epochs is None):
            found = "neither is" if self.num_steps is None else "both are"
            raise ValueError(f"num_steps and num_epochs: {found} set; give one, e.g. num_steps=200")
        return self

    @model_validator(mode="after")
    def _truncation_needs_temperature_1(self) -> GrpoConfig:
        rollout = self.rollout
        if rollout.is_truncated and rollout.temperature != 1:
            raise ValueError(
                f"rollout.top_p: {rollout.top_p:g} and rollout.top_k: {rollout.top_k} need "
                f"rollout.temperature: 1 (it is {rollout.temperature:g})"
            )
        return self

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

    @model_validator(mode="after")
    def _halves_are_apart(self) -> GrpoConfig:
        only, stored = self.rollout.only, self.learner.from_rollouts
        if only and stored:
            raise ValueError(
                "rollout.only: true leaves out the learner and learner.from_rollouts: "
                f"{stored} the engines; give one of them"
            )
        if stored and self.eval.tasks:
            raise ValueError(
                f"eval.tasks: learner.from_rollouts: {stored} starts no engines, which an "
                "evaluation needs; set eval.tasks=null"
            )
        return self

    @property
    def num_engines(self) -> int:
        """Number of engines; 0 if stored batches are trained."""
        return 0 if self.learner.from_rollouts else self.rollout.num_engines

    @property
    def num_reward_workers(self) -> int:
        """Number of actors that grade; 0 if stored batches are trained."""
        return 0 if self.learner.from_rollouts else self.resources.reward_workers

    @property
    def num_ranks(self) -> int:
        """Number of learner processes; 0 with `rollout.only`."""
        return 0 if self.rollout.only else self.learner.num_ranks

    def resolved(self, num_tasks: int | None) -> GrpoConfig:
        """Return the config with num_steps instead of num_epochs; `num_tasks` of an epoch.

        Raises ConfigError: the tasks are endless (None).
        """
        if self.num_epochs is None:
            return self
        if num_tasks is None:
            raise ConfigError(
                f"num_epochs: {self.num_epochs:g}: the tasks are endless, as a mixture is; use "
                "num_steps"
            )
        steps = math.ceil(round(self.num_epochs * num_tasks / self.rollout.tasks_per_step, 6))
        return self.model_copy(update={"num_steps": steps, "num_epochs": None})

    @property
    def total_steps(self) -> int:
        """Number of optimizer steps of the whole run; of a `resolved` config only."""
        assert self.num_steps is not None, "num_epochs is not resolved"
        return self.num_steps

    @property
    def accuracy_reward(self) -> str:
        """The reward that says whether a completion is right."""
        return self.eval.correct_by or next(iter(self.rewards))

    @property
    def filters_groups(self) -> bool:
        """Whether groups without differences in accuracy are left out of the batches."""
        given = self.rollout.dynamic_sampling
        return self.loss.name == "dapo" if given is None else given

    @property
    def tasks_per_batch(self) -> int:
        """Number of tasks in a rollout batch."""
        return self.rollout.tasks_per_step * min(self.rollout.num_minibatches, self.total_steps)

    def steps_in_batch(self, first_step: int) -> int:
        """Return the number of optimizer steps of the rollout batch that starts at `first_step`."""
        num_minibatches = self.rollout.num_minibatches
        return min(num_minibatches - first_step % num_minibatches, self.total_steps - first_step)

    @property
    def colocated(self) -> bool:
        """Whether engines and learner never compute at the same time (on-policy)."""
        return self.rollout.max_staleness == 0
