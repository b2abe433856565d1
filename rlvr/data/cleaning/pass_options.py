"""Recipe sections of the cleaning passes: one class of options for each pass."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rewards.shaping.language import LANGUAGES
from rlvr.config.sections import Frac, PathText, PositiveInt, Section, TasksSection

__all__ = [
    "CaptionPass",
    "DecontaminatePass",
    "DistractorsPass",
    "DomainsPass",
    "DuplicatesPass",
    "FormPass",
    "LanguagePass",
    "LayOutPass",
    "MinStepsPass",
    "NoCodePass",
    "ParagraphPass",
    "PassSection",
    "Profile",
    "RepetitionPass",
    "SystemPass",
    "WellFormedPass",
    "WholePass",
]


Profile = Literal["zero", "r1"]


class FormPass(Section):
    """Drop rows whose columns are not of the kind that they must be."""

    stop: bool = Field(False, description="end with the first such row's place instead")


class WellFormedPass(Section):
    """Drop completions that do not keep the form of think_format."""

    profile: Profile = Field("r1", description="zero: think and answer tags; r1: a thought, a rest")


class WholePass(Section):
    """Drop completions that ran into the token limit, and thoughts that never end."""


class LanguagePass(Section):
    """Drop thoughts in more than one language."""

    language: str | None = Field(None, description="null: the row's own, else its question's")
    min_frac: Frac = Field(0.9, description="least share of the thought's words in it")

    @field_validator("language")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in LANGUAGES:
            raise ValueError(f"allowed: {', '.join(LANGUAGES)}")
        return value


class ParagraphPass(Section):
    """Drop thoughts with an overlong paragraph."""

    max_chars: PositiveInt = Field(2000, description="longest paragraph, in characters")


class NoCodePass(Section):
    """Drop thoughts with a code block."""


class RepetitionPass(Section):
    """Drop rows whose thought and answer repeat themselves."""

    max_rate: Frac = Field(0.7, description="1 - unique n-grams / n-grams")
    ngram: PositiveInt = Field(3, description="words of English, characters of Chinese")


class MinStepsPass(Section):
    """Drop thoughts with few steps."""

    at_least: PositiveInt = Field(3, description="steps")


class DuplicatesPass(Section):
    """Drop rows that say what an earlier kept one says."""

    columns: list[str] | None = Field(
        None, description="columns; null: context and steps, else prompt, thought and rest"
    )
    near: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="least Jaccard index of word 5-grams; null: only exact duplicates"
    )


class DecontaminatePass(Section):
    """Drop rows whose question shares words in a row with an evaluation set."""

    sets: dict[str, TasksSection] = Field(description="name: the tasks of that set")
    ngram: Annotated[int, Field(ge=2)] = Field(8, description="words, or Chinese characters")


class DomainsPass(Section):
    """Tag each row with `domain` and `domains`, by keywords in its question."""

    keywords: PathText | None = Field(None, description="YAML file {domain: [word]}; null: ours")
    min_keywords: PositiveInt = Field(1, description="different ones that make a domain")
    only: list[str] | None = Field(None, description="drop rows of other domains; null: keep all")


class LayOutPass(Section):
    """Prompt = context and requirements, thought = numbered steps."""


class SystemPass(Section):
    """Lead the prompt with a system message for the row's domain."""

    by_domain: dict[str, str] = Field(description="domain: text; other: for all the rest")


class DistractorsPass(Section):
    """Put sentences with irrelevant numbers into the question; the answer stays."""

    count: PositiveInt = Field(1, description="sentences in each question, five at most")


class CaptionPass(Section):
    """Put a column's text, such as the description of an image, behind the prompt."""

    column: str = Field("caption", description="a row without it stays as it is")


class PassSection(Section):
    """One pass: its name and its options."""

    form: FormPass | None = None
    well_formed: WellFormedPass | None = None
    whole: WholePass | None = None
    language: LanguagePass | None = None
    paragraph: ParagraphPass | None = None
    no_code: NoCodePass | None = None
    repetition: RepetitionPass | None = None
    min_steps: MinStepsPass | None = None
    duplicates: DuplicatesPass | None = None
    decontaminate: DecontaminatePass | None = None
    domains: DomainsPass | None = None
    lay_out: LayOutPass | None = None
    system: SystemPass | None = None
    distractors: DistractorsPass | None = None
    caption: CaptionPass | None = None

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, value: Any) -> Any:
        """`no_code` is short for `{no_code: {}}`."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {name: {} if options is None else options for name, options in value.items()}
        return value

    @model_validator(mode="after")
    def _one(self) -> PassSection:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a pass is one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def name(self) -> str:
        """Which one it is."""
        return next(iter(self.model_fields_set))

    @property
    def options(self) -> Any:
        """Its section."""
        return getattr(self, self.name)
