"""Recipe values of a model folder, for `rlvr serve FOLDER` and `rlvr chat FOLDER`.

runs/r1/config.yaml  prompt: {template, system, prefill}
runs/r1/model        --> model.path
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rlvr.config import load_config
from rlvr.config.sections import Section
from rlvr.errors import ConfigError

__all__ = ["load_values", "model_recipe"]

PROMPT_KEYS = ("template", "system", "prefill")

ConfigT = TypeVar("ConfigT", bound=Section)


def load_values(
    schema: type[ConfigT], values: Mapping[str, Any], overrides: Sequence[str], *, source: str
) -> ConfigT:
    """Check values that are in no file. Raises ConfigError that names `source` as the file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        try:
            return load_config(schema, file, overrides)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(file), source)) from None


def model_recipe(path: str) -> dict[str, Any]:
    """Return the recipe of a model or run folder. Raises ConfigError if it holds no model."""
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
    """Return the prompt section of the run; the default is the model's chat template."""
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    prompt = config.get("prompt") if isinstance(config, dict) else None
    found = {key: prompt[key] for key in PROMPT_KEYS if key in prompt} if prompt else {}
    return found or {"template": "chat"}
