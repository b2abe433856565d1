"""Schemas of `rlvr serve` and `rlvr chat`, and the recipe of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
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
from rlvr.data.model_files import AT_STEP, is_adapter, resolve_model
from rlvr.errors import ConfigError
from rlvr.run.checkpoints import checkpoint_of, run_of

__all__ = [
    "ChatConfig",
    "ServeConfig",
    "ServeSection",
    "VariantSection",
    "model_recipe",
    "names_model",
]

Port = Annotated[int, Field(ge=0, le=65535)]


class ServeSection(Section):
    """The address, the replicas behind it and the options of each replica."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0: all interfaces")
    port: Port = Field(8000, description="port to listen on; 0: a free one")
    replicas: PositiveInt = Field(1, description="servers per model, used round-robin")
    model_name: str = Field("model", min_length=1, description="name of the model in requests")
    reasoning_parser: str = Field(
        "auto",
        description="splits reasoning and answer: auto, none, think_text, think_text_open "
        "(by the tags in the text), or one of vLLM's own, such as deepseek_r1 or qwen3",
    )
    max_model_tokens: PositiveInt | None = Field(
        None, description="prompt and completion; null: the model's limit"
    )
    max_concurrent: PositiveInt = Field(64, description="concurrent requests per replica")
    kv_cache_gib: PositiveFloat | None = Field(
        None,
        description="KV cache per replica, in GiB; null: vLLM's share of a GPU, 1 on a CPU",
    )
    tensor_parallel: PositiveInt = Field(1, description="GPUs per replica")
    threads: PositiveInt | None = Field(
        None, description="CPU threads per replica; null: the cores are divided"
    )
    engine: dict[str, Any] = Field(
        {}, description="further options of vLLM's server, e.g. {quantization: fp8}"
    )
    cache_replies: NonNegativeInt = Field(1000, description="cached replies; 0: no cache")
    check_every_s: PositiveFloat = Field(5.0, description="interval of the health checks")
    start_deadline_s: PositiveFloat = Field(900.0, description="time for a replica to start")
    dry_run: bool = Field(False, description="print the commands of the replicas and exit")


class VariantSection(Section):
    """A second model that gets a share of the users: an A/B test."""

    path: PathText = Field(description="directory or hub name, as model.path")
    share: Frac = Field(0.5, description="share of the users; the seed assigns each user")


class ServeConfig(StageConfig):
    """A model behind an OpenAI-compatible address."""

    stage: Literal["serve"] = Field("serve", description="which command the recipe is for")
    model: ModelSection
    prompt: PromptSection = PromptSection(template="chat")
    variant: VariantSection | None = Field(None, description="null: all users get model")
    serve: ServeSection = ServeSection()


class ChatConfig(Section):
    """A chat in a terminal; its values are those of the folder and of the command line."""

    stage: Literal["chat"] = Field("chat", description="the command")
    model: ModelSection | None = Field(None, description="null: an address is given")
    prompt: PromptSection = PromptSection(template="chat")
    model_name: str | None = Field(None, description="name at the address; null: its first model")
    system: str | None = Field(None, description="system message of the conversation")
    hide_thought: bool = Field(False, description="show only the answer")
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.6, description="of sampling"
    )
    max_tokens: PositiveInt | None = Field(None, description="per reply; null: the model's limit")
    max_model_tokens: PositiveInt | None = Field(
        None, description="longest conversation; null: the model's limit"
    )


def names_model(recipe: str) -> bool:
    """Whether RECIPE of a command names a model: a folder, or RUN@STEP."""
    return Path(recipe).is_dir() or bool(AT_STEP.fullmatch(recipe))


def model_recipe(path: str) -> dict[str, Any]:
    """Return the recipe of a model, run or checkpoint, with the prompt of the run that made it.

    Raises ConfigError: `path` names no local model.
    """
    model = Path(resolve_model(path))
    if not (is_adapter(str(model)) or (model / "config.json").is_file()):
        raise ConfigError(
            f"{path}: holds neither a model nor a run's model/; give one, or a recipe"
        )
    run = run_of(model.resolve())
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")) if run else None
    trained = (config.get("prompt") if isinstance(config, dict) else None) or {}
    prompt = {key: trained[key] for key in ("template", "system", "prefill") if key in trained}
    names = [run.name if run else model.resolve().name]
    if checkpoint := checkpoint_of(model):
        names.append(checkpoint.name)
    return {
        "stage": "serve",
        "name": "-".join(["serve", *names]),
        "model": {"path": str(model)},
        "prompt": prompt or {"template": "chat"},
    }
