"""The recipe of distillation: a teacher behind an address, its checks, its scores, what is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlvr.config.recipe import StageConfig
from rlvr.config.sections import (
    NonNegativeInt,
    PathText,
    PositiveInt,
    SandboxSection,
    Section,
    TasksSection,
)
from rlvr.teacher.teacher_config import (
    AskSection,
    ScoringSection,
    TeacherPromptSection,
    TeacherSection,
)

__all__ = ["DistillConfig", "FilterSection"]


class FilterSection(Section):
    """What of the rows goes into kept.jsonl."""

    min_score: Annotated[float, Field(ge=0, le=10)] | None = Field(
        None, description="rows with a lower score, or none, are dropped; null: scores are ignored"
    )
    require_thought: bool = Field(True, description="rows without a thought are dropped")


class DistillConfig(StageConfig):
    """Replies of a teacher, scored and filtered: data for `rlvr sft`."""

    stage: Literal["distill"] = Field("distill", description="which command the recipe is for")
    tasks: TasksSection | None = Field(None, description="what the teacher is asked")
    teacher: TeacherSection | None = None
    rows_from: PathText | None = Field(
        None,
        description="rows.jsonl of an earlier run: score and filter these; no teacher is asked",
    )
    sampling: AskSection = AskSection()
    prompt: TeacherPromptSection = TeacherPromptSection()
    samples_per_task: PositiveInt = Field(1, description="replies of one task (k)")
    labels: list[str] = Field([], description="the closed set of answers; []: any answer")
    verify: bool = Field(
        False, description="score each reply at once, and ask again where filter.min_score refuses"
    )
    verify_attempts: PositiveInt = Field(
        1, description="replies for one row until one is whole, has a label, and is verified"
    )
    scoring: ScoringSection = ScoringSection()
    filter: FilterSection = FilterSection()
    export: list[Literal["alpaca", "sharegpt", "messages"]] = Field(
        [], description="written to export/, with LLaMA-Factory's dataset_info.json and an sft yaml"
    )
    sandbox: SandboxSection = SandboxSection()
    max_unanswered: NonNegativeInt = Field(
        0, description="rows that may stay without a reply when the stage ends"
    )

    @model_validator(mode="after")
    def _has_rows(self) -> DistillConfig:
        if self.rows_from is None and (self.tasks is None or self.teacher is None):
            raise ValueError("tasks and teacher are needed (or rows_from, an earlier run's rows)")
        if self.verify and self.filter.min_score is None:
            raise ValueError("verify: needs filter.min_score, the score that is enough")
        return self
