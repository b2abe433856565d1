"""Recipe sections of a model behind OpenAI-compatible endpoints: calls, prompt, judge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlvr.config.sections import PathText, PositiveFloat, PositiveInt, Section

__all__ = [
    "AskSection",
    "EndpointSection",
    "JudgeSection",
    "ScoringSection",
    "TeacherPromptSection",
    "TeacherSection",
]


class EndpointSection(Section):
    """One OpenAI-compatible address with one key."""

    url: str = Field(description="up to /v1, e.g. http://127.0.0.1:8000/v1")
    model: str = Field(description="name of the model at this address")
    name: str | None = Field(None, description="in rows and messages; null: the host of the URL")
    key_env: str | None = Field(
        None, description="NAME of the environment variable that holds the key; null: no key"
    )
    weight: PositiveFloat | None = Field(
        None, description="share of the calls relative to the others; null: by concurrency"
    )
    concurrency: PositiveInt = Field(16, description="calls in flight")
    requests_per_minute: PositiveFloat | None = Field(None, description="null: no limit")


class AskSection(Section):
    """Sampling of a reply."""

    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.6, description="of sampling; DeepSeek's own API ignores it"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.95, description="of sampling")
    max_tokens: PositiveInt = Field(32768, description="of reasoning and answer together")
    send_seed: bool = Field(
        False, description="send a seed that depends on row and attempt (vLLM, OpenAI)"
    )
    extra: dict[str, Any] = Field({}, description="more keys of the request body")


class TeacherSection(Section):
    """A model behind one or several endpoints, with its deadlines and retries."""

    endpoints: Annotated[list[EndpointSection], Field(min_length=1)]
    timeout_s: PositiveFloat = Field(
        1800.0, description="of one call, in seconds; must cover the longest reply"
    )
    num_tries: PositiveInt = Field(10, description="calls for one reply, over all endpoints")
    backoff_s: PositiveFloat = Field(
        1.0, description="wait before the second call, in seconds; doubles, up to 60"
    )
    put_aside_after: PositiveInt = Field(
        5, description="failures in a row after which an endpoint rests"
    )
    put_aside_s: PositiveFloat = Field(
        30.0, description="length of a rest, in seconds; doubles with each rest in a row"
    )
    max_rests: PositiveInt = Field(
        5, description="rests in a row after which an endpoint is given up"
    )

    @model_validator(mode="after")
    def _weights_are_complete(self) -> TeacherSection:
        if len({one.weight is None for one in self.endpoints}) > 1:
            raise ValueError("endpoints: give a weight to all of them or to none")
        return self


class JudgeSection(TeacherSection):
    """A teacher that gives short answers at temperature 0."""

    sampling: AskSection = AskSection(temperature=0.0, top_p=1.0, max_tokens=2048)


class TeacherPromptSection(Section):
    """The prompt template: {column} is the task's column, {prompt} its prompt."""

    system: str | None = Field(None, description="system message; null: none")
    system_file: PathText | None = Field(None, description="file with the system message")
    user: str = Field("{prompt}", description="user message; {{name}} is a literal {name}")
    user_file: PathText | None = Field(None, description="file with the user message")
    examples: list[dict[Literal["user", "assistant"], str]] = Field(
        [], description="earlier turns, without placeholders: [{user: ..., assistant: ...}]"
    )
    prefill: str = Field(
        "", description="first words of the reply, e.g. '<think>\\n'; for vLLM and SGLang"
    )

    @model_validator(mode="after")
    def _sources_are_single(self) -> TeacherPromptSection:
        if self.system is not None and self.system_file is not None:
            raise ValueError("system and system_file: give one of them")
        if self.user != "{prompt}" and self.user_file is not None:
            raise ValueError("user and user_file: give one of them")
        if any(set(example) != {"user", "assistant"} for example in self.examples):
            raise ValueError("examples: each needs user and assistant")
        return self


class ScoringSection(Section):
    """A score from 0 to 10 for each row: by a rule where one applies, else by a judge."""

    rules: list[Literal["accuracy", "passes_tests"]] = Field(
        ["accuracy", "passes_tests"],
        description="for rows with the columns answer and tests; []: a judge reads the answer",
    )
    judge: JudgeSection | None = Field(None, description="null: rows without a rule have no score")
    judge_tries: PositiveInt = Field(
        3, description="calls of the judge for one row, until its reply can be parsed"
    )
    correctness_prompt: str | None = Field(
        None, description="for rows with an answer: {prompt} {answer} {content}; null: built in"
    )
    quality_prompt: str | None = Field(
        None, description="for rows without an answer: {prompt} {content}; null: built in"
    )
    again: bool = Field(False, description="with rows_from: score rows that have a score too")
