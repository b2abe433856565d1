"""`rlvr serve FOLDER`: the recipe of a model, with the template that its run was made with.

runs/r1/config.yaml  prompt: {template, system, prefill}
runs/r1/model        --> model.path
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rlvr.errors import ConfigError

__all__ = ["is_model", "model_recipe"]

PROMPT_KEYS = ("template", "system", "prefill")


def is_model(path: str) -> bool:
    """A model's folder, or a run's with a model in it; not a recipe's file."""
    return Path(path).is_dir()


def model_recipe(path: str) -> dict[str, Any]:
    """What a recipe would say. Raises ConfigError for a folder without a model."""
    folder = Path(path)
    model = folder / "model" if (folder / "model").is_dir() else folder
    if not (model / "config.json").is_file():
        raise ConfigError(
            f"{path}: holds neither a model nor a run's model/; give one, or a recipe"
        )
    run = model.resolve().parent
    name = run.name if (run / "config.yaml").is_file() else model.resolve().name
    return {
        "stage": "serve",
        "name": f"serve-{name}",
        "model": {"path": str(model)},
        "prompt": _prompt(run / "config.yaml"),
    }


def _prompt(file: Path) -> dict[str, Any]:
    """Of the run that made the model; a model from elsewhere has a chat template."""
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    prompt = config.get("prompt") if isinstance(config, dict) else None
    found = {key: prompt[key] for key in PROMPT_KEYS if key in prompt} if prompt else {}
    return found or {"template": "chat"}
