"""The recipe of `rlvr clean`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlvr.config import StageConfig
from rlvr.config.changes import Neutral
from rlvr.config.sections import PathText, PositiveInt, Section
from rlvr.data.cleaning.passes import PassSection
from rlvr.teacher.teacher_config import AskSection, TeacherSection

__all__ = ["BackTranslationSection", "CleanConfig"]


class BackTranslationSection(Section):
    """More Chinese rows: a teacher translates questions into English and back and solves them."""

    teacher: Neutral[TeacherSection]
    sampling: AskSection = AskSection()
    num_rows: PositiveInt | None = Field(None, description="at most the first so many; null: all")


class CleanConfig(StageConfig):
    """Clean samples."""

    stage: Literal["clean"] = Field("clean", description="which command the recipe is for")
    data: PathText = Field(description="file, or name of a data set, with the rows")
    split: str | None = Field(None, description="of a data set, or a slice such as [:1000]")
    passes: list[PassSection] = Field(description="run in this order; each keeps, edits or drops")
    back_translation: BackTranslationSection | None = Field(None, description="null: none")
