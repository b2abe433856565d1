"""`rlvr chat`: talk to a model, by its folder or by an address that is there."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rlvr.cluster.environment import check_environment
from rlvr.config import load_config
from rlvr.errors import ConfigError
from rlvr.serving import served
from rlvr.serving.conversation import Conversation, first_model
from rlvr.serving.folder_recipe import model_recipe
from rlvr.serving.serve_config import ChatConfig
from rlvr.serving.terminal import chat

__all__ = ["run_chat"]


def run_chat(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError. `recipe`: a model's or run's folder, or http://HOST:PORT/v1."""
    config = _config(recipe, overrides)
    try:
        with _address(recipe, config) as url:
            model = config.model_name or first_model(url)
            sampling = {"temperature": config.temperature, "max_tokens": config.max_tokens}
            new = partial(Conversation, url, model=model, sampling=sampling, system=config.system)
            chat(new, lines=sys.stdin, out=sys.stdout, hide_thought=config.hide_thought)
    except KeyboardInterrupt:
        print()
    return 0


def _config(recipe: str, overrides: Sequence[str]) -> ChatConfig:
    known: dict[str, Any] = {}
    if not _is_address(recipe):
        known = {key: model_recipe(recipe)[key] for key in ("model", "prompt")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chat.yaml"
        file.write_text(yaml.safe_dump(known), encoding="utf-8")
        try:
            return load_config(ChatConfig, file, overrides)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(file), recipe)) from None


def _is_address(recipe: str) -> bool:
    return recipe.startswith(("http://", "https://"))


@contextmanager
def _address(recipe: str, config: ChatConfig) -> Iterator[str]:
    """One that is there, or that of a server for as long as the chat lasts."""
    if config.model is None:
        yield recipe.rstrip("/")
        return
    check_environment()
    print(f"starting vLLM with {config.model.path}, which takes a minute or so", file=sys.stderr)
    prompt = config.prompt
    with served(
        config.model.path,
        template=prompt.template,
        system=prompt.system,
        prefill=prompt.prefill,
        dtype=config.model.dtype,
        max_model_tokens=config.max_model_tokens,
    ) as url:
        yield url
