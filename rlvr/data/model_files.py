"""Looking at a model before anything heavy is imported: is it there, is it whole, how big is it,
how does it end.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError

__all__ = ["check_context", "check_model", "end_token_ids", "resolve_model", "weights_bytes"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


def check_model(path: str, *, key: str = "model.path") -> None:
    """Raises ConfigError where a local directory lacks configuration, weights or tokenizer.

    A name like gpt2 or Qwen/Qwen2.5-0.5B that is no path on this machine is left to the hub.
    """
    folder = Path(path)
    if not folder.exists():
        if path.startswith("runs/") or not HUB_NAME.fullmatch(path):
            hint = "; `make base` makes it" if path.startswith("runs/toy-base") else ""
            raise ConfigError(f"{key}: no directory {path}{hint}")
        return
    if not (folder / "config.json").exists():
        raise ConfigError(
            f"{key}: {path} has no config.json; give the directory of a Hugging Face model"
        )
    if not any(True for pattern in WEIGHT_FILES for _ in folder.glob(pattern)):
        raise ConfigError(f"{key}: {path} has no weights ({' or '.join(WEIGHT_FILES)})")
    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        raise ConfigError(
            f"{key}: {path} has no tokenizer ({', '.join(TOKENIZER_FILES)}); copy the "
            f"tokenizer's files into it"
        )


def check_context(path: str, *, num_tokens: int) -> None:
    """Raises ConfigError where prompt and completion are longer than the model can read."""
    limit = _read_json(Path(path) / "config.json").get("max_position_embeddings")
    if limit is not None and num_tokens > limit:
        raise ConfigError(
            f"rollout: max_prompt_tokens + max_tokens is {num_tokens}, and {path} reads "
            f"{limit} tokens at most; lower one of them"
        )


def resolve_model(path: str) -> str:
    """A local directory as an absolute path, since actors may work elsewhere; a hub name as it
    is.
    """
    return str(Path(path).resolve()) if Path(path).exists() else path


def weights_bytes(path: str) -> int:
    """Bytes of the weight files; 0 for a model that is not here yet."""
    return sum(file.stat().st_size for pattern in WEIGHT_FILES for file in Path(path).glob(pattern))


def end_token_ids(path: str, tokenizer: Any) -> tuple[int, ...]:
    """All tokens that end a completion: the tokenizer's own and those that the model's files name.

    Raises:
        ConfigError: where there is none at all.
    """
    ids = {tokenizer.eos_token_id}
    for name in ("generation_config.json", "config.json"):
        named = _read_json(Path(path) / name).get("eos_token_id")
        ids |= set(named) if isinstance(named, list) else {named}
    if not Path(path).exists():
        ids |= _end_tokens_on_hub(path)
    ids -= {None}
    if not ids:
        raise ConfigError(
            f"model.path: {path} names no end-of-sequence token; set eos_token in its tokenizer"
        )
    return tuple(sorted(ids))


def _end_tokens_on_hub(name: str) -> set[int | None]:
    from transformers import GenerationConfig

    try:
        named = GenerationConfig.from_pretrained(name).eos_token_id
    except OSError:
        return set()
    return set(named) if isinstance(named, list) else {named}


def _read_json(file: Path) -> dict[str, Any]:
    """The object in a model's file; empty where the file is not here (a model on the hub)."""
    if not file.exists():
        return {}
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.path: {file} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"model.path: {file} holds no JSON object")
    return data
