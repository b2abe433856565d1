"""Recipe sections of a model behind an OpenAI-compatible endpoint, and of its prompt."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlvr.config.sections import (
    PathText,
    PositiveFloat,
    PositiveInt,
    Section,
)

__all__ = [
    "AskSection",
    "EndpointSection",
    "JudgeSection",
    "ScoringSection",
    "TeacherPromptSection",
    "TeacherSection",
]


class EndpointSection(Section):
    """One address that speaks OpenAI's chat completions, with one key."""

    url: str = Field(description="up to /v1, e.g. http://127.0.0.1:8000/v1")
    model: str = Field(description="as the address names it")
    name: str | None = Field(None, description="in rows and messages; null: the address's host")
    key_env: str | None = Field(
        None, description="NAME of the environment variable that holds the key; null: no key"
    )
    weight: PositiveFloat | None = Field(
        None, description="its share of the calls, to the others'; null: by concurrency"
    )
    concurrency: PositiveInt = Field(16, description="calls at a time")
    requests_per_minute: PositiveFloat | None = Field(None, description="null: as many as it can")


class AskSection(Section):
    """How a reply is written."""

    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.6, description="of sampling; DeepSeek's own API ignores it"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.95, description="of sampling")
    max_tokens: PositiveInt = Field(32768, description="of thought and answer together")
    send_seed: bool = Field(
        False, description="send a seed that depends on row and attempt (vLLM, OpenAI)"
    )
    extra: dict[str, Any] = Field({}, description="more keys of the request's body")


class TeacherSection(Section):
    """A model behind one address or several, and how much patience there is with them."""

    endpoints: Annotated[list[EndpointSection], Field(min_length=1)]
    timeout_s: PositiveFloat = Field(
        1800.0, description="of one call, in seconds: as long as the longest reply takes"
    )
    num_tries: PositiveInt = Field(10, description="calls for one reply, over all endpoints")
    backoff_s: PositiveFloat = Field(
        1.0, description="wait before the second call, in seconds; doubles, up to 60"
    )
    put_aside_after: PositiveInt = Field(
        5, description="failures in a row after which an endpoint rests"
    )
    put_aside_s: PositiveFloat = Field(
        30.0, description="how long it rests, in seconds; doubles each time it comes to nothing"
    )
    max_rests: PositiveInt = Field(
        5, description="rests in a row after which an endpoint is given up"
    )

    @model_validator(mode="after")
    def _weights_of_all(self) -> TeacherSection:
        if len({one.weight is None for one in self.endpoints}) > 1:
            raise ValueError("endpoints: all have a weight, or none")
        return self


class JudgeSection(TeacherSection):
    """A judge: as a teacher, but it answers shortly and as it would always answer."""

    sampling: AskSection = AskSection(temperature=0.0, top_p=1.0, max_tokens=2048)


class TeacherPromptSection(Section):
    """What the teacher is asked: {column} stands for the task's column, {prompt} for its prompt."""

    system: str | None = Field(None, description="system message; null: none")
    system_file: PathText | None = Field(None, description="a file that holds it")
    user: str = Field("{prompt}", description="user message; {{name}} stands for {name} itself")
    user_file: PathText | None = Field(None, description="a file that holds it")
    examples: list[dict[Literal["user", "assistant"], str]] = Field(
        [], description="turns that go before, as they stand: [{user: ..., assistant: ...}]"
    )
    prefill: str = Field(
        "", description="first words of the reply, e.g. '<think>\\n'; for vLLM and SGLang"
    )

    @model_validator(mode="after")
    def _once(self) -> TeacherPromptSection:
        if self.system is not None and self.system_file is not None:
            raise ValueError("system and system_file: one of them")
        if self.user != "{prompt}" and self.user_file is not None:
            raise ValueError("user and user_file: one of them")
        if any(set(example) != {"user", "assistant"} for example in self.examples):
            raise ValueError("examples: each has user and assistant")
        return self


class ScoringSection(Section):
    """A score from 0 to 10 for each row: by rule where a rule can tell, else by a judge."""

    rules: list[Literal["accuracy", "passes_tests"]] = Field(
        ["accuracy", "passes_tests"],
        description="for rows with the column answer, and tests; []: a judge reads the answer",
    )
    judge: JudgeSection | None = Field(None, description="null: rows without a rule have no score")
    judge_tries: PositiveInt = Field(
        3, description="how often a judge is asked until its reply can be read"
    )
    correctness_prompt: str | None = Field(
        None, description="for rows with an answer, of {prompt} {answer} {content}; null: our own"
    )
    quality_prompt: str | None = Field(
        None, description="for rows without one, of {prompt} {content}; null: our own"
    )
    again: bool = Field(False, description="of rows_from: score also what has a score")
