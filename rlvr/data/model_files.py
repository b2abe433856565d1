"""Find the model that a path names, and inspect its files without loading it.

path                                                   resolve_model
a model's or an adapter's folder                       itself
runs/X, a finished run                                 runs/X/model or runs/X/adapter
runs/X, a run that goes on or was interrupted          the model of its newest checkpoint
runs/X@20, runs/X/checkpoints/step_000020              the model of that checkpoint
runs/X@best                                            that with the highest held-out pass@1
Qwen/Qwen2.5-0.5B, no local path                       the name: it is left to the hub
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlvr.data.weight_files import check_weights
from rlvr.errors import ConfigError
from rlvr.run.checkpoints import CHECKPOINT_NAME, complete_checkpoints, evaluated_checkpoints

__all__ = [
    "AT_STEP",
    "absolute_path",
    "below_adapter",
    "check_context",
    "check_model",
    "end_token_ids",
    "is_adapter",
    "model_json",
    "resolve_model",
    "tokenizer_folder",
    "weights_bytes",
]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
ADAPTER = "adapter_config.json"
AT_STEP = re.compile(r"(.+)@(\d+|best)")
NUM_LISTED = 12  # files or steps in a message


def resolve_model(path: str, *, key: str = "model.path") -> str:
    """Return the folder of the model or adapter that a path names; a hub name as it is.

    The folder may be incomplete, see `check_model`. Raises ConfigError: there is no such folder,
    checkpoint or model; the message lists what there is.
    """
    folder = Path(path)
    if folder.is_dir():
        return str(_model_in(folder, key=key))
    at_step = AT_STEP.fullmatch(path)
    if at_step and Path(at_step[1]).is_dir():
        return str(_model_at(Path(at_step[1]), at_step[2], key=key))
    if folder.exists():
        raise ConfigError(f"{key}: {path} is a file; give the directory of a Hugging Face model")
    if path.startswith("runs/") or not HUB_NAME.fullmatch(path):
        hint = "; `make base` makes it" if path.startswith("runs/toy-base") else ""
        raise ConfigError(f"{key}: no directory {at_step[1] if at_step else path}{hint}")
    return path


def absolute_path(model: str) -> str:
    """Return a local folder as an absolute path, since actors may run elsewhere; else the name."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def check_model(path: str, *, key: str = "model.path", allow_adapter: bool = False) -> str:
    """Return the folder or hub name that `path` names, as `resolve_model`.

    Raises ConfigError: there is none, or it lacks configuration, weights or tokenizer, or a weight
    file is cut short; it is an adapter, where only a whole model is allowed.
    """
    folder = resolve_model(path, key=key)
    if is_adapter(folder):
        if not allow_adapter:
            raise ConfigError(f"{key}: {folder} is an adapter; merge it with `rlvr export` first")
        _require(folder, {"no weights of the adapter": ("adapter_model.*",)}, key=key)
        check_model(below_adapter(folder, key=key), key=f"{key}: the model below {folder}")
    elif Path(folder).is_dir():
        required = {
            "no config.json; give the directory of a Hugging Face model": ("config.json",),
            f"no weights ({' or '.join(WEIGHT_FILES)})": WEIGHT_FILES,
            f"no tokenizer ({', '.join(TOKENIZER_FILES)}); copy its files into it": TOKENIZER_FILES,
        }
        _require(folder, required, key=key)
        check_weights(folder, key=key)
    return folder


def is_adapter(model: str) -> bool:
    """Whether a folder holds an adapter of peft rather than a whole model."""
    return (Path(model) / ADAPTER).exists() and not (Path(model) / "config.json").exists()


def below_adapter(model: str, *, key: str = "model.path") -> str:
    """Return the model that an adapter belongs to; a whole model is returned as it is."""
    if not is_adapter(model):
        return model
    base = model_json(model, ADAPTER).get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"{key}: {model} does not name its base model")
    return str(base)


def tokenizer_folder(model: str) -> str:
    """Return the folder of a model's tokenizer: an adapter may have its own."""
    has_own = any((Path(model) / name).exists() for name in TOKENIZER_FILES)
    return model if has_own else below_adapter(model)


def check_context(path: str, *, num_tokens: int) -> None:
    """Raise ConfigError if prompt and completion exceed the model's context length."""
    limit = model_json(path, "config.json").get("max_position_embeddings")
    if limit is not None and num_tokens > limit:
        raise ConfigError(
            f"rollout: max_prompt_tokens + max_tokens is {num_tokens}, and {path} reads "
            f"{limit} tokens at most; lower one of them"
        )


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


def _model_in(folder: Path, *, key: str) -> Path:
    """Return the model in a folder, which is a model, a checkpoint or a run."""
    if any((folder / name).exists() for name in ("config.json", ADAPTER)):
        return folder
    if CHECKPOINT_NAME.fullmatch(folder.name):
        return _model_of(folder, key=key)
    checkpoints = complete_checkpoints(folder / "checkpoints")
    results = [folder / name for name in ("adapter", "model") if (folder / name).is_dir()]
    if results and not (checkpoints and _is_unfinished(folder)):
        return results[0]
    if checkpoints:
        return _model_of(checkpoints[max(checkpoints)], key=key)
    if (folder / "config.yaml").exists():
        raise ConfigError(f"{key}: the run {folder} has no model and no complete checkpoint yet")
    return folder


def _is_unfinished(run: Path) -> bool:
    """Whether a run still trains or was interrupted; its model/ may be that of an earlier end."""
    return (run / "config.yaml").exists() and not (run / "summary.json").exists()


def _model_at(run: Path, step: str, *, key: str) -> Path:
    """Return the model of a run's checkpoint; `step` is a number or "best"."""
    checkpoints = complete_checkpoints(run / "checkpoints")
    if step == "best":
        scores = evaluated_checkpoints(run / "checkpoints")
        if not scores:
            raise ConfigError(f"{key}: {run}@best: no checkpoint on disk has been evaluated")
        step = str(max(scores, key=lambda one: (scores[one], one)))
    if int(step) not in checkpoints:
        raise ConfigError(
            f"{key}: {run} has no checkpoint of step {step}; those on disk: "
            f"{_listed(checkpoints) or 'none'}; `checkpoint.keep` says which ones stay"
        )
    return _model_of(checkpoints[int(step)], key=key)


def _model_of(checkpoint: Path, *, key: str) -> Path:
    """Return the model of a checkpoint; those of `rlvr sft` are models themselves."""
    if checkpoint not in complete_checkpoints(checkpoint.parent).values():
        raise ConfigError(f"{key}: the checkpoint {checkpoint} is not complete")
    return checkpoint / "model" if (checkpoint / "model").is_dir() else checkpoint


def _require(folder: str, required: dict[str, tuple[str, ...]], *, key: str) -> None:
    for problem, patterns in required.items():
        if not any(True for pattern in patterns for _ in Path(folder).glob(pattern)):
            if not Path(folder).is_dir():  # a checkpoint, and its run goes on
                raise ConfigError(f"{key}: {folder} was deleted while it was read")
            found = _listed(path.name for path in Path(folder).iterdir())
            raise ConfigError(f"{key}: {folder} has {problem}; it holds {found or 'nothing'}")


def _listed(names: Iterable[object]) -> str:
    """Return the sorted names; of many the first and the last."""
    texts = [str(name) for name in sorted(names)]  # type: ignore[type-var]
    if len(texts) > NUM_LISTED:
        texts = [*texts[: NUM_LISTED - 2], "...", texts[-1]]
    return ", ".join(texts)
