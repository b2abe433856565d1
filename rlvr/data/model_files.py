"""Inspect a model's files without loading it: completeness, size, context length, end tokens."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError

__all__ = [
    "check_context",
    "check_model",
    "end_token_ids",
    "model_json",
    "resolve_model",
    "weights_bytes",
]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


def check_model(path: str, *, key: str = "model.path") -> None:
    """Raise ConfigError for a local folder without configuration, weights or tokenizer.

    A name like gpt2 or Qwen/Qwen2.5-0.5B that is no local path is left to the hub.
    """
    folder = Path(path)
    if not folder.exists():
        if path.startswith("runs/") or not HUB_NAME.fullmatch(path):
            hint = "; `make base` makes it" if path.startswith("runs/toy-base") else ""
            raise ConfigError(f"{key}: no directory {path}{hint}")
        return
    required = {
        "no config.json; give the directory of a Hugging Face model": ("config.json",),
        f"no weights ({' or '.join(WEIGHT_FILES)})": WEIGHT_FILES,
        f"no tokenizer ({', '.join(TOKENIZER_FILES)}); copy its files into it": TOKENIZER_FILES,
    }
    for problem, patterns in required.items():
        if not any(True for pattern in patterns for _ in folder.glob(pattern)):
            raise ConfigError(f"{key}: {path} has {problem}")


def check_context(path: str, *, num_tokens: int) -> None:
    """Raise ConfigError if prompt and completion exceed the model's context length."""
    limit = model_json(path, "config.json").get("max_position_embeddings")
    if limit is not None and num_tokens > limit:
        raise ConfigError(
            f"rollout: max_prompt_tokens + max_tokens is {num_tokens}, and {path} reads "
            f"{limit} tokens at most; lower one of them"
        )


def resolve_model(path: str) -> str:
    """Return a local folder as an absolute path, since actors may run elsewhere; else the name."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def weights_bytes(path: str) -> int:
    """Return the size of the local weight files; 0 for a model on the hub."""
    return sum(file.stat().st_size for pattern in WEIGHT_FILES for file in Path(path).glob(pattern))


def end_token_ids(path: str, tokenizer: Any) -> tuple[int, ...]:
    """Return all end tokens of tokenizer and model; raise ConfigError if there is none."""
    configs = [model_json(path, name) for name in ("generation_config.json", "config.json")]
    found = [tokenizer.eos_token_id, *(config.get("eos_token_id") for config in configs)]
    if not Path(path).exists():
        from transformers import GenerationConfig

        with suppress(OSError):
            found.append(GenerationConfig.from_pretrained(path).eos_token_id)
    lists = (ids if isinstance(ids, list) else [ids] for ids in found)
    end_ids = {token_id for ids in lists for token_id in ids} - {None}
    if not end_ids:
        raise ConfigError(
            f"model.path: {path} names no end-of-sequence token; set eos_token in its tokenizer"
        )
    return tuple(sorted(end_ids))


def model_json(path: str, name: str) -> dict[str, Any]:
    """Read a JSON file of a model; {} if it does not exist, as for a model on the hub."""
    file = Path(path) / name
    if not file.exists():
        return {}
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.path: {file} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"model.path: {file} holds no JSON object")
    return data
