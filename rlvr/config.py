"""The one schema of a run: what a recipe may say for each command.

A recipe is YAML; `a.b=c` on the command line overrides it. Its sections are in config_sections, its
reading and the errors in config_loading. Free of torch and Ray, so that a mistake is answered in
well under a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from rlvr.config_loading import load_config
from rlvr.config_sections import (
    CheckpointSection,
    EvalSection,
    GatesSection,
    LearnerSection,
    LossSection,
    ModelSection,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    PromptSection,
    ResourcesSection,
    RewardSection,
    RolloutSection,
    SandboxSection,
    Section,
    TasksSection,
    TrackersSection,
)

__all__ = [
    "CheckpointSection",
    "EvalSection",
    "GatesSection",
    "GrpoConfig",
    "LearnerSection",
    "LossSection",
    "ModelSection",
    "PromptSection",
    "ResourcesSection",
    "RewardSection",
    "RolloutSection",
    "SandboxSection",
    "SftConfig",
    "TasksSection",
    "TrackersSection",
    "load_config",
]


class GrpoConfig(Section):
    """A GRPO run."""

    stage: Literal["grpo"] = Field("grpo", description="which command the recipe is for")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run folder")
    output_dir: PathText = Field("runs", description="the run folder is output_dir/name")
    seed: NonNegativeInt = Field(0, description="of everything that is drawn")
    num_steps: PositiveInt = Field(description="optimizer steps")
    model: ModelSection
    tasks: TasksSection
    prompt: PromptSection = PromptSection()
    rewards: dict[str, RewardSection] = Field(
        description="name or pkg.module:function: weight and options"
    )
    rollout: RolloutSection = RolloutSection()
    learner: LearnerSection = LearnerSection()
    loss: LossSection = LossSection()
    eval: EvalSection = EvalSection()
    checkpoint: CheckpointSection = CheckpointSection()
    gates: GatesSection = GatesSection()
    resources: ResourcesSection = ResourcesSection()
    sandbox: SandboxSection = SandboxSection()
    trackers: TrackersSection = TrackersSection()

    @model_validator(mode="before")
    @classmethod
    def _plain_weights(cls, data: Any) -> Any:
        """`accuracy: 1.0` is short for `accuracy: {weight: 1.0}`."""
        rewards = data.get("rewards") if isinstance(data, dict) else None
        if not isinstance(rewards, dict):
            return data
        spelled = {
            k: {"weight": v} if isinstance(v, int | float) else v for k, v in rewards.items()
        }
        return {**data, "rewards": spelled}

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
            would_do = " or ".join(str(n) for n in (lower, lower + engines) if n)
            raise ValueError(
                f"rollout.tasks_per_step: {tasks} groups cannot be divided over "
                f"rollout.num_engines: {engines}; "
                f"{would_do} would do"
            )
        return self

    @model_validator(mode="after")
    def _correct_by_is_a_reward(self) -> GrpoConfig:
        if self.eval.correct_by not in (None, *self.rewards):
            raise ValueError(
                f"eval.correct_by: {self.eval.correct_by!r} is none of the rewards: "
                + ", ".join(self.rewards)
            )
        return self

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.output_dir) / self.name


class SftConfig(Section):
    """Supervised training with TRL's SFTTrainer: pretraining of the toy base, and cold start."""

    stage: Literal["sft"] = Field("sft", description="which command the recipe is for")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run folder")
    output_dir: PathText = Field("runs", description="the run folder is output_dir/name")
    seed: NonNegativeInt = Field(0, description="of everything that is drawn")
    model: PathText = Field(
        description="directory or hub name of the model to start from; toy: a new small one"
    )
    data: PathText = Field(
        description="toy_text, toy_worked, or a JSONL file with prompt and completion, or with text"
    )
    num_rows: PositiveInt = Field(description="rows of the data")
    num_epochs: PositiveFloat = Field(1.0, description="passes over the rows")
    lr: PositiveFloat = Field(1e-5, description="peak learning rate of AdamW; cosine to 0")
    matrix_lr: PositiveFloat | None = Field(
        None, description="peak learning rate of Muon for weight matrices; null: AdamW for all"
    )
    warmup_steps: NonNegativeInt = Field(5, description="steps of linear warm-up")
    batch_size: PositiveInt = Field(32, description="rows in an optimizer step")
    max_tokens: PositiveInt = Field(1024, description="of a row; longer ones are cut")
    threads: PositiveInt | None = Field(None, description="CPU threads; null: all cores")
    prompt: PromptSection = PromptSection()

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.output_dir) / self.name
