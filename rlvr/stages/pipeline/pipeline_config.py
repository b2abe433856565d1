"""The recipes of a chain of stages: the whole R1 pipeline, and its ablation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rlvr.config import StageConfig
from rlvr.config.sections import PathText, PositiveInt, PromptSection, Section

__all__ = ["AblateConfig", "ChainConfig", "StepSection", "TeacherServerSection"]

Command = Literal["sft", "grpo", "sample", "distill", "clean", "export", "eval", "compare"]


class TeacherServerSection(Section):
    """A model of the chain that is a teacher while a step runs: vLLM's server on loopback."""

    model: PathText = Field(description="its folder")
    prompt: PromptSection = PromptSection(template="chat")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of weights and activations"
    )
    max_model_tokens: PositiveInt | None = Field(
        None, description="longest prompt and reply together; null: what the model can read"
    )


class StepSection(Section):
    """One stage of the chain, in a folder of its own."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", description="what `{name}` stands for further down")
    run: Command = Field(description="the command")
    recipe: PathText = Field(description="its recipe")
    set: dict[str, Any] = Field(
        {}, description="section.key: value over the recipe's; {step} is the folder of a step above"
    )
    teacher: TeacherServerSection | None = Field(
        None, description="for distill: a model that is served while it runs"
    )
    shows: str = Field("", description="what this step is to show, for the plan")

    @model_validator(mode="after")
    def _teacher_is_for_distill(self) -> StepSection:
        if self.teacher is not None and self.run != "distill":
            raise ValueError(f"step {self.name}: a teacher is for run: distill")
        return self


class ChainConfig(StageConfig):
    """Stages one after the other; each takes what those before it have left."""

    stage: Literal["r1"] = Field("r1", description="which command the recipe is for")
    steps: Annotated[list[StepSection], Field(min_length=1)]
    only: list[str] = Field([], description="these steps and what they need; []: all")
    plan_only: bool = Field(False, description="print the plan and end")

    @field_validator("steps")
    @classmethod
    def _names_differ(cls, steps: list[StepSection]) -> list[StepSection]:
        names = [step.name for step in steps]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two steps are called {twice}")
        return steps

    @model_validator(mode="after")
    def _only_names_steps(self) -> ChainConfig:
        names = [step.name for step in self.steps]
        for name in self.only:
            if name not in names:
                raise ValueError(f"only: no step {name!r}; there are {', '.join(names)}")
        return self


class AblateConfig(ChainConfig):
    """The same, where the steps are the arms of a comparison."""

    stage: Literal["ablate"] = Field("ablate", description="which command the recipe is for")  # type: ignore[assignment]
