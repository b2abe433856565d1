"""The recipes of chains of stages: the R1 pipeline and its ablation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlvr.config import StageConfig
from rlvr.config.sections import PathText, PositiveInt, PromptSection, Section

__all__ = ["AblateConfig", "ChainConfig", "StepSection", "TeacherServerSection"]

Command = Literal["sft", "grpo", "sample", "distill", "clean", "export", "eval", "compare"]


class TeacherServerSection(Section):
    """A model of the chain that a vLLM server on loopback serves during a step."""

    model: PathText = Field(description="its folder")
    prompt: PromptSection = PromptSection(template="chat")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of weights and activations"
    )
    max_model_tokens: PositiveInt | None = Field(
        None, description="longest prompt and reply together; null: the model's context length"
    )


class StepSection(Section):
    """One stage of the chain, with its own run folder."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", description="later steps refer to it as `{name}`")
    run: Command = Field(description="the command")
    recipe: PathText = Field(description="its recipe")
    set: dict[str, Any] = Field(
        {}, description="overrides section.key: value; {step} is the folder of an earlier step"
    )
    teacher: TeacherServerSection | None = Field(
        None, description="for distill: a model that is served while it runs"
    )
    shows: str = Field("", description="purpose of the step, for the plan")

    @model_validator(mode="after")
    def _teacher_is_for_distill(self) -> StepSection:
        if self.teacher is not None and self.run != "distill":
            raise ValueError(f"step {self.name}: a teacher is for run: distill")
        return self


class ChainConfig(StageConfig):
    """Stages in sequence; each reads the results of earlier ones."""

    stage: Literal["r1"] = Field("r1", description="which command the recipe is for")
    steps: Annotated[list[StepSection], Field(min_length=1)]
    only: list[str] = Field([], description="these steps and what they depend on; []: all")
    plan_only: bool = Field(False, description="print the plan and exit")

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> ChainConfig:
        names = [step.name for step in self.steps]
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            raise ValueError(f"steps: two steps are called {duplicate}")
        for name in self.only:
            if name not in names:
                raise ValueError(f"only: no step {name!r}; there are {', '.join(names)}")
        return self


class AblateConfig(ChainConfig):
    """A chain whose steps are the arms of a comparison."""

    stage: Literal["ablate"] = Field("ablate", description="which command the recipe is for")  # type: ignore[assignment]
