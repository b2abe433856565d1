"""The recipe of serving a model, and the preset of one for a model's folder alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from rlvr.config import StageConfig
from rlvr.config.sections import (
    Frac,
    ModelSection,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    PromptSection,
    Section,
)

__all__ = ["ChatConfig", "ServeConfig", "ServeSection", "VariantSection"]

Port = Annotated[int, Field(ge=0, le=65535)]


class ServeSection(Section):
    """The address, the replicas behind it, and how each of them runs."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0: reachable by others")
    port: Port = Field(8000, description="of the address; 0: a free one")
    replicas: PositiveInt = Field(1, description="servers of a model, asked in turns")
    model_name: str = Field("model", min_length=1, description="what requests call the model")
    reasoning_parser: str = Field(
        "auto",
        description="that parts thought and answer: auto, none, think_text, think_text_open "
        "(by the tags in the text), or a name that vLLM knows, such as deepseek_r1 or qwen3",
    )
    max_model_tokens: PositiveInt | None = Field(
        None, description="of prompt and completion; null: what the model can read"
    )
    max_concurrent: PositiveInt = Field(64, description="requests that a replica writes at a time")
    kv_cache_gib: PositiveFloat | None = Field(
        None,
        description="memory of a replica's KV cache, in GiB; null: vLLM's share of a GPU, "
        "1 without one",
    )
    tensor_parallel: PositiveInt = Field(1, description="GPUs of one replica")
    threads: PositiveInt | None = Field(
        None, description="CPU threads of a replica; null: the cores shared out"
    )
    engine: dict[str, Any] = Field(
        {}, description="further options of vLLM's server, e.g. {quantization: fp8}"
    )
    cache_replies: NonNegativeInt = Field(
        1000, description="replies at temperature 0 that are kept to be given again; 0: none"
    )
    check_every_s: PositiveFloat = Field(5.0, description="between two looks at each replica")
    start_deadline_s: PositiveFloat = Field(
        900.0, description="until a replica answers; one that does not by then is given up"
    )
    dry_run: bool = Field(False, description="print the commands of the replicas and end")


class VariantSection(Section):
    """A second model that gets a share of the users: an A/B test."""

    path: PathText = Field(description="directory or hub name, as model.path")
    share: Frac = Field(0.5, description="of the users; each stays where the seed has put them")


class ServeConfig(StageConfig):
    """A model behind an OpenAI-compatible address."""

    stage: Literal["serve"] = Field("serve", description="which command the recipe is for")
    model: ModelSection
    prompt: PromptSection = PromptSection(template="chat")
    variant: VariantSection | None = Field(None, description="null: all users get model")
    serve: ServeSection = ServeSection()


class ChatConfig(Section):
    """A chat in a terminal; it has no recipe's file, all of it may be said on the command line."""

    stage: Literal["chat"] = Field("chat", description="which command it is for")
    model: ModelSection | None = Field(None, description="null: an address was given")
    prompt: PromptSection = PromptSection(template="chat")
    model_name: str | None = Field(None, description="at the address; null: the first one there")
    system: str | None = Field(None, description="system message of the conversation")
    hide_thought: bool = Field(False, description="show the answer alone")
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.6, description="of sampling"
    )
    max_tokens: PositiveInt | None = Field(
        None, description="longest reply, in tokens; null: what the model can read"
    )
    max_model_tokens: PositiveInt | None = Field(
        None, description="of the whole conversation; null: what the model can read"
    )
