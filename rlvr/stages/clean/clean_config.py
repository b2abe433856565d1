"""The recipe of cleaning: passes over the rows, in the order in which they stand."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlvr.config import StageConfig
from rlvr.config.sections import PathText, PositiveInt, Section
from rlvr.data.cleaning.pass_options import PassSection
from rlvr.teacher.teacher_config import AskSection, TeacherSection

__all__ = ["BackTranslationSection", "CleanConfig"]


class BackTranslationSection(Section):
    """More Chinese rows: questions put into English and back by a teacher, who must still solve
    them as the row's answer says.
    """

    teacher: TeacherSection
    sampling: AskSection = AskSection()
    num_rows: PositiveInt | None = Field(None, description="the first so many; null is all")


class CleanConfig(StageConfig):
    """Rows of thoughts and answers, cleaned."""

    stage: Literal["clean"] = Field("clean", description="which command the recipe is for")
    data: PathText = Field(description="file, or name of a data set, with the rows")
    split: str | None = Field(None, description="of a data set, or a slice such as [:1000]")
    passes: list[PassSection] = Field(
        description="in this order; each keeps, changes or drops a row"
    )
    back_translation: BackTranslationSection | None = Field(None, description="null: none")
