"""The passes of a cleaning recipe: one section per pass, which makes the function that runs it.

    Pass = (sample, id) -> (sample, reason to drop it or None)

A pass with a memory (duplicates) sees only the samples that the earlier passes kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rewards.shaping.language import LANGUAGES
from rlvr.config.sections import Frac, PathText, PositiveInt, Section, TasksSection
from rlvr.data.cleaning import filters
from rlvr.data.cleaning.domains import Domains, read_domains
from rlvr.data.cleaning.overlap import Contamination, Duplicates
from rlvr.data.cleaning.prompt_edits import lay_out, with_caption, with_distractors, with_system
from rlvr.data.inputs import check_is_finite, open_section
from rlvr.data.samples import (
    answer_of,
    completion_of,
    language_of,
    question_of,
    reasoning_of,
    steps_of,
)
from rlvr.errors import ConfigError

__all__ = ["Pass", "PassSection", "Sample", "make_passes"]

Sample = dict[str, Any]
Pass = Callable[[Sample, str], tuple[Sample, str | None]]


def make_passes(sections: Sequence[PassSection], *, seed: int) -> list[tuple[str, Pass]]:
    """Return (name, pass) in order. Raises ConfigError for a file that cannot be read."""
    return [
        (section.name, section.options.make(seed, f"passes.{i}.{section.name}"))
        for i, section in enumerate(sections)
    ]


class FilterPass(Section):
    """Base of the passes that drop a sample by its text alone."""

    def reason(self, sample: Sample) -> str | None:
        """Return the reason to drop a sample, or None."""
        raise NotImplementedError

    def make(self, seed: int, key: str) -> Pass:
        return lambda sample, id: (sample, self.reason(sample))


class FormPass(Section):
    """Drop samples with a column of the wrong type, or without question or answer."""

    stop: bool = Field(False, description="fail at the first such row instead")

    def make(self, seed: int, key: str) -> Pass:
        def check(sample: Sample, id: str) -> tuple[Sample, str | None]:
            reason = filters.wrong_form(sample)
            if reason and self.stop:
                raise ConfigError(
                    f"row {id}: {reason}; correct it, or drop such rows with stop: false"
                )
            return sample, reason

        return check


class WellFormedPass(FilterPass):
    """Drop completions without the format of think_format."""

    profile: Literal["zero", "r1"] = Field(
        "r1", description="zero: think and answer tags; r1: reasoning, then the answer"
    )

    def reason(self, sample: Sample) -> str | None:
        prefilled = bool(sample.get("think_prefilled"))
        return filters.malformed(
            completion_of(sample), profile=self.profile, think_prefilled=prefilled
        )


class WholePass(FilterPass):
    """Drop completions that reached the token limit, and unfinished reasoning."""

    def reason(self, sample: Sample) -> str | None:
        options = {name: sample.get(name) for name in ("finish_reason", "think_prefilled")}
        return filters.truncated(completion_of(sample), **options)


class LanguagePass(FilterPass):
    """Drop reasoning in more than one language."""

    language: str | None = Field(None, description="null: the row's own, else its question's")
    min_frac: Frac = Field(0.9, description="least share of the reasoning's words in it")

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in LANGUAGES:
            raise ValueError(f"allowed: {', '.join(LANGUAGES)}")
        return value

    def reason(self, sample: Sample) -> str | None:
        language = self.language or language_of(sample)
        return filters.mixed_language(reasoning_of(sample), language, min_frac=self.min_frac)


class ParagraphPass(FilterPass):
    """Drop reasoning with an overlong paragraph."""

    max_chars: PositiveInt = Field(2000, description="longest paragraph, in characters")

    def reason(self, sample: Sample) -> str | None:
        return filters.long_paragraph(reasoning_of(sample), max_chars=self.max_chars)


class NoCodePass(FilterPass):
    """Drop reasoning with a code block."""

    def reason(self, sample: Sample) -> str | None:
        return filters.code_in_thought(reasoning_of(sample))


class RepetitionPass(FilterPass):
    """Drop samples whose reasoning and answer repeat themselves."""

    max_rate: Frac = Field(0.7, description="1 - unique n-grams / n-grams")
    ngram: PositiveInt = Field(3, description="words of English, characters of Chinese")

    def reason(self, sample: Sample) -> str | None:
        text = f"{reasoning_of(sample)}\n{answer_of(sample)}"
        return filters.repeated(text, max_rate=self.max_rate, ngram=self.ngram)


class MinStepsPass(FilterPass):
    """Drop reasoning with few steps."""

    at_least: PositiveInt = Field(3, description="steps")

    def reason(self, sample: Sample) -> str | None:
        num_steps = len(steps_of(sample))
        return f"steps: {num_steps}, under {self.at_least}" if num_steps < self.at_least else None


class DuplicatesPass(Section):
    """Drop duplicates of earlier kept samples."""

    columns: list[str] | None = Field(
        None, description="null: context and steps, or prompt and reply"
    )
    near: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="least Jaccard index of word 5-grams; null: only exact duplicates"
    )

    def make(self, seed: int, key: str) -> Pass:
        duplicates = Duplicates(columns=self.columns, near=self.near)

        def check(sample: Sample, id: str) -> tuple[Sample, str | None]:
            first = duplicates.found(sample, id=id)
            return sample, None if first is None else f"duplicate: of {first}"

        return check


class DecontaminatePass(Section):
    """Drop samples whose question shares n words in a row with an evaluation set."""

    sets: dict[str, TasksSection] = Field(description="name: the tasks of that set")
    ngram: Annotated[int, Field(ge=2)] = Field(8, description="words, or Chinese characters")

    def make(self, seed: int, key: str) -> Pass:
        questions = {}
        for name, section in self.sets.items():
            source = open_section(section, section=f"{key}.sets.{name}", seed=seed)
            check_is_finite(source, section=f"{key}.sets.{name}")
            tasks = (source.task(i) for i in range(source.num_tasks or 0))
            questions[name] = [question_of({"prompt": task.prompt}) for task in tasks]
        contamination = Contamination(questions, ngram=self.ngram)

        def check(sample: Sample, id: str) -> tuple[Sample, str | None]:
            name = contamination.found(question_of(sample))
            return sample, None if name is None else f"contaminated: {name}"

        return check


class DomainsPass(Section):
    """Tag each sample with `domain` and `domains`, by keywords in its question."""

    keywords: PathText | None = Field(None, description="YAML {domain: [word]}; null: built in")
    min_keywords: PositiveInt = Field(1, description="distinct keywords that make a domain")
    only: list[str] | None = Field(None, description="drop rows of other domains; null: keep all")

    def make(self, seed: int, key: str) -> Pass:
        domains = Domains(read_domains(self.keywords), min_keywords=self.min_keywords)

        def tag(sample: Sample, id: str) -> tuple[Sample, str | None]:
            found = domains.of(question_of(sample))
            tagged = {**sample, "domain": found[0], "domains": found}
            is_wanted = self.only is None or set(found) & set(self.only)
            return tagged, None if is_wanted else f"domain: {', '.join(found)}"

        return tag


class LayOutPass(Section):
    """Prompt = context and requirements, reasoning = numbered steps."""

    def make(self, seed: int, key: str) -> Pass:
        return lambda sample, id: (lay_out(sample), None)


class SystemPass(Section):
    """Set a system message for the sample's domain."""

    by_domain: dict[str, str] = Field(description="domain: text; other: for all the rest")

    def make(self, seed: int, key: str) -> Pass:
        return lambda sample, id: (with_system(sample, self.by_domain), None)


class DistractorsPass(Section):
    """Insert sentences with irrelevant numbers into the question; the answer is unaffected."""

    count: PositiveInt = Field(1, description="sentences in each question, five at most")

    def make(self, seed: int, key: str) -> Pass:
        options = {"seed": seed, "count": self.count}
        return lambda sample, id: (with_distractors(sample, id=id, **options), None)


class CaptionPass(Section):
    """Append a column's text, such as the description of an image, to the prompt."""

    column: str = Field("caption", description="a row without it is unchanged")

    def make(self, seed: int, key: str) -> Pass:
        return lambda sample, id: (with_caption(sample, self.column), None)


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
    def _expand(cls, value: Any) -> Any:
        """`no_code` is short for `{no_code: {}}`."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {name: {} if options is None else options for name, options in value.items()}
        return value

    @model_validator(mode="after")
    def _is_one_pass(self) -> PassSection:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a pass is one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def name(self) -> str:
        """Name of the pass."""
        return next(iter(self.model_fields_set))

    @property
    def options(self) -> Any:
        """Section of the pass."""
        return getattr(self, self.name)
