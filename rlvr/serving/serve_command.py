"""`rlvr serve`: a model behind an OpenAI-compatible address."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from rlvr.cluster.environment import check_environment
from rlvr.config import load_config
from rlvr.data.model_files import check_model
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder
from rlvr.serving.folder_recipe import is_model, model_recipe
from rlvr.serving.jinja_template import own_template
from rlvr.serving.serving_plan import dry_run, replica_specs
from rlvr.serving.serve_config import ServeConfig

__all__ = ["run_serve"]


def run_serve(recipe: str, overrides: Sequence[str]) -> int:
    """Exit status; raises RLVRError. `recipe` may be a folder with a model instead."""
    config = _config(recipe, overrides)
    is_cpu = shutil.which("nvidia-smi") is None
    _check(config, is_cpu=is_cpu)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        if config.serve.dry_run:
            print("\n".join(dry_run(config, folder=folder.logs, is_cpu=is_cpu)))
            return 0
        check_environment()
        from rlvr.serving.application import serve_forever

        serve_forever(config, folder=folder.logs, say=_say)
    return 0


def _config(recipe: str, overrides: Sequence[str]) -> ServeConfig:
    if not is_model(recipe):
        return load_config(ServeConfig, recipe, overrides)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "serve.yaml"
        file.write_text(yaml.safe_dump(model_recipe(recipe)), encoding="utf-8")
        try:
            return load_config(ServeConfig, file, overrides)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(file), recipe)) from None


def _check(config: ServeConfig, *, is_cpu: bool) -> None:
    paths = {"model.path": config.model.path}
    if config.variant is not None:
        paths["variant.path"] = config.variant.path
    for key, path in paths.items():
        check_model(path, key=key)
    for path in paths.values():
        is_here = Path(path).is_dir()
        if config.prompt.template == "chat" and is_here and own_template(path) is None:
            raise ConfigError(
                f"prompt.template: {path} has no chat template; give the one that it was trained "
                "with: r1_zero, plain, or a text with {prompt}"
            )
    replica_specs(config, is_cpu=is_cpu)  # names what is wrong with the template


def _say(text: str) -> None:
    print(text, flush=True)
