"""The recipe of distillation: tasks, teacher, scoring, and which rows are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlvr.config import StageConfig
from rlvr.config.changes import Free, Neutral
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
    """Filter of the rows that are written to kept.jsonl."""

    min_score: Annotated[float, Field(ge=0, le=10)] | None = Field(
        None, description="drops rows with a lower score or none; null: scores are ignored"
    )
    require_thought: bool = Field(True, description="drops rows without reasoning")


class DistillConfig(StageConfig):
    """Replies of a teacher, scored and filtered, as data for `rlvr sft`."""

    stage: Literal["distill"] = Field("distill", description="which command the recipe is for")
    tasks: TasksSection | None = Field(None, description="prompts for the teacher")
    teacher: Neutral[TeacherSection | None] = None
    rows_from: PathText | None = Field(
        None,
        description="rows.jsonl of an earlier run to score and filter; no teacher is called",
    )
    sampling: AskSection = AskSection()
    prompt: TeacherPromptSection = TeacherPromptSection()
    samples_per_task: PositiveInt = Field(1, description="replies per task (k)")
    labels: list[str] = Field([], description="the closed set of answers; []: any answer")
    verify: bool = Field(
        False, description="score each reply at once, and ask again below filter.min_score"
    )
    verify_attempts: PositiveInt = Field(
        1, description="replies for one row until one is complete, has a label, and is verified"
    )
    scoring: Free[ScoringSection] = ScoringSection()
    filter: Free[FilterSection] = FilterSection()
    export: Free[list[Literal["alpaca", "sharegpt", "messages"]]] = Field(
        [], description="written to export/, with LLaMA-Factory's dataset_info.json and an sft yaml"
    )
    sandbox: Neutral[SandboxSection] = SandboxSection()
    max_unanswered: Free[NonNegativeInt] = Field(
        0, description="rows that may lack a reply when the stage finishes"
    )

    @model_validator(mode="after")
    def _inputs_are_complete(self) -> DistillConfig:
        if self.rows_from is None and (self.tasks is None or self.teacher is None):
            raise ValueError("tasks and teacher are needed (or rows_from, the rows of a run)")
        if self.verify and self.filter.min_score is None:
            raise ValueError("verify: needs filter.min_score, the score of a verified reply")
        return self
