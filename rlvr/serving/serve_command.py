"""`rlvr serve`: serve a model behind an OpenAI-compatible address."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlvr.cluster.processes import check_packages
from rlvr.config import load_config
from rlvr.data.model_copy import MODEL_COPY, find_model, hold_model, remove_copy
from rlvr.data.model_files import absolute_path, tokenizer_folder
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder
from rlvr.serving.jinja_template import own_template
from rlvr.serving.serve_config import ServeConfig, model_recipe, names_model
from rlvr.serving.server_spec import (
    MODEL,
    VARIANT,
    replica_specs,
    server_command,
    server_env,
)

__all__ = ["run_serve"]

DRY_RUN_ENV = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE")


def run_serve(recipe: str, overrides: Sequence[str]) -> int:
    """Run the command and return its exit status; `recipe` is a file, or names a model.

    Raises:
        RLVRError: the user's input is wrong, or a server does not start.
    """
    if names_model(recipe):
        config = load_config(ServeConfig, recipe, overrides, values=model_recipe(recipe))
    else:
        config = load_config(ServeConfig, recipe, overrides)
    is_cpu = shutil.which("nvidia-smi") is None
    folder = RunFolder(config.run_dir)
    arms = _arms(config, folder)
    _check(config, arms, is_cpu=is_cpu)
    with folder.locked():
        say = partial(print, flush=True)
        if config.serve.dry_run:
            models = _hold(config, arms, say=say)
            print("\n".join(_dry_run(config, models, folder=folder.logs, is_cpu=is_cpu)))
            return 0
        check_packages()
        from rlvr.serving.application import serve_forever

        try:
            serve_forever(config, _hold(config, arms, say=say), folder=folder.logs, say=say)
        finally:
            for arm in arms.values():
                remove_copy(arm.copy)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ArmSource:
    """The model of one arm: `_ArmSource(key="variant.path", path="runs/b@20", copy=...)`."""

    key: str
    path: str
    copy: Path


def _arms(config: ServeConfig, folder: RunFolder) -> dict[str, _ArmSource]:
    copy, path = folder.path / MODEL_COPY, config.model.path
    arms = {MODEL: _ArmSource(key="model.path", path=path, copy=copy)}
    if config.variant is not None:
        copy = copy.with_name(f"{MODEL_COPY}-{VARIANT}")
        arms[VARIANT] = _ArmSource(key="variant.path", path=config.variant.path, copy=copy)
    return arms


def _hold(
    config: ServeConfig, arms: Mapping[str, _ArmSource], *, say: Callable[[str], None]
) -> dict[str, str]:
    """Return arm -> absolute path of a model that stays until the copies are removed."""
    trust, dtype = config.model.trust_remote_code, config.model.dtype
    models = {
        name: hold_model(
            arm.path, copy=arm.copy, dtype=dtype, trust_remote_code=trust, key=arm.key, say=say
        )
        for name, arm in arms.items()
    }
    return {name: absolute_path(model) for name, model in models.items()}


def _check(config: ServeConfig, arms: Mapping[str, _ArmSource], *, is_cpu: bool) -> None:
    models = {name: find_model(arm.path, copy=arm.copy, key=arm.key) for name, arm in arms.items()}
    for model in models.values():
        is_local = Path(model).is_dir()
        no_template = is_local and own_template(tokenizer_folder(model)) is None
        if config.prompt.template == "chat" and no_template:
            raise ConfigError(
                f"prompt.template: {model} has no chat template; give the one that it was trained "
                "with: r1_zero, plain, or a text with {prompt}"
            )
    replica_specs(config, models, is_cpu=is_cpu)  # raises ConfigError for a wrong template


def _dry_run(
    config: ServeConfig, models: Mapping[str, str], *, folder: Path, is_cpu: bool
) -> list[str]:
    """Return a shell command per replica; write the chat templates that they need to `folder`."""
    lines: list[str] = []
    for arm, specs in replica_specs(config, models, is_cpu=is_cpu).items():
        for spec in specs:
            port = (config.serve.port or 8000) + len(lines) + 1
            command = server_command(spec, port=port, folder=folder / arm)
            env = server_env(spec)
            variables = [f"{name}={env[name]}" for name in DRY_RUN_ENV if name in env]
            lines.append(shlex.join(["env", *variables, *command]))
    return lines
