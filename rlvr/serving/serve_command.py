"""`rlvr serve`: serve a model behind an OpenAI-compatible address."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rlvr.cluster.processes import check_packages
from rlvr.config import load_config
from rlvr.data.model_files import check_model
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder
from rlvr.serving.jinja_template import own_template
from rlvr.serving.serve_config import ServeConfig, model_recipe
from rlvr.serving.server_spec import replica_specs, server_command, server_env

__all__ = ["run_serve"]

DRY_RUN_ENV = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE")


def run_serve(recipe: str, overrides: Sequence[str]) -> int:
    """Run the command and return its exit status; `recipe` is a file, or a model or run folder.

    Raises:
        RLVRError: the user's input is wrong, or a server does not start.
    """
    if Path(recipe).is_dir():
        config = load_config(ServeConfig, recipe, overrides, values=model_recipe(recipe))
    else:
        config = load_config(ServeConfig, recipe, overrides)
    is_cpu = shutil.which("nvidia-smi") is None
    _check(config, is_cpu=is_cpu)
    folder = RunFolder(config.run_dir)
    with folder.locked():
        if config.serve.dry_run:
            print("\n".join(_dry_run(config, folder=folder.logs, is_cpu=is_cpu)))
            return 0
        check_packages()
        from rlvr.serving.application import serve_forever

        serve_forever(config, folder=folder.logs, say=partial(print, flush=True))
    return 0


def _check(config: ServeConfig, *, is_cpu: bool) -> None:
    paths = {"model.path": config.model.path}
    if config.variant is not None:
        paths["variant.path"] = config.variant.path
    for key, path in paths.items():
        check_model(path, key=key)
    for path in paths.values():
        is_local = Path(path).is_dir()
        if config.prompt.template == "chat" and is_local and own_template(path) is None:
            raise ConfigError(
                f"prompt.template: {path} has no chat template; give the one that it was trained "
                "with: r1_zero, plain, or a text with {prompt}"
            )
    replica_specs(config, is_cpu=is_cpu)  # raises ConfigError for a wrong template


def _dry_run(config: ServeConfig, *, folder: Path, is_cpu: bool) -> list[str]:
    """Return a shell command per replica; write the chat templates that they need to `folder`."""
    lines: list[str] = []
    for arm, specs in replica_specs(config, is_cpu=is_cpu).items():
        for spec in specs:
            port = (config.serve.port or 8000) + len(lines) + 1
            command = server_command(spec, port=port, folder=folder / arm)
            env = server_env(spec)
            variables = [f"{name}={env[name]}" for name in DRY_RUN_ENV if name in env]
            lines.append(shlex.join(["env", *variables, *command]))
    return lines
