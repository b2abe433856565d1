"""The recipe of rejection sampling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from rlvr.config import GenerationStageConfig
from rlvr.config.changes import Free
from rlvr.config.sections import (
    Frac,
    PositiveInt,
    Rewards,
    SamplingSection,
    Section,
    TasksSection,
)

__all__ = ["KeepSection", "SampleConfig"]


class KeepSection(Section):
    """Filter of the completions; may change after they are generated."""

    at_least: dict[str, float] | None = Field(
        None, description="reward: least value; null: 1 from every reward that applies"
    )
    one_language: Frac | None = Field(
        None, description="least share of the reasoning's words in the task's language"
    )
    max_paragraph_chars: PositiveInt | None = Field(
        None, description="longest paragraph of the reasoning, in characters"
    )
    max_repetition: Frac | None = Field(
        0.7, description="1 - unique n-grams / n-grams of the completion"
    )
    code_in_thought: bool = Field(True, description="false drops reasoning with a code block")
    truncated: bool = Field(False, description="true keeps completions that hit the token limit")
    duplicates: bool = Field(False, description="true keeps equal completions of one task")
    pass_rate: tuple[Frac, Frac] | None = Field(
        None, description="[least, greatest] share of a task's completions whose rewards are all 1"
    )
    per_task: PositiveInt | None = Field(None, description="most completions of one task")
    decontaminate: dict[str, TasksSection] = Field(
        {}, description="name of an evaluation set: its tasks, which kept prompts may not share"
    )
    ngram: Annotated[int, Field(ge=2)] = Field(
        8, description="consecutive words that count as a shared task"
    )

    @field_validator("pass_rate")
    @classmethod
    def _in_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value and value[0] > value[1]:
            raise ValueError(f"the least share {value[0]} exceeds the greatest {value[1]}")
        return value


class SampleRolloutSection(SamplingSection):
    """Sampling whose parts, which are stored and seeded as a whole, depend on both keys."""

    num_engines: PositiveInt = Field(1, description="vLLM engines")
    max_concurrent: PositiveInt = Field(512, description="completions per engine at a time")


class SampleConfig(GenerationStageConfig):
    """Several completions of each task, graded and filtered into training rows."""

    stage: Literal["sample"] = Field("sample", description="which command the recipe is for")
    tasks: TasksSection
    rewards: Rewards = Field(description="name or pkg.module:function: weight and options")
    rollout: SampleRolloutSection = SampleRolloutSection()
    keep: Free[KeepSection] = KeepSection()
    rewrite: Free[str | None] = Field(
        None,
        description="pkg.module:function: a kept row -> the row to train on, or None to drop",
    )

    @model_validator(mode="after")
    def _thresholds_name_rewards(self) -> SampleConfig:
        for name in self.keep.at_least or {}:
            if name not in self.rewards:
                known = ", ".join(self.rewards)
                raise ValueError(f"keep.at_least.{name}: is not one of the rewards: {known}")
        return self
