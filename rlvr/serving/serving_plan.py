"""What a recipe asks for, server by server: both arms, each replica with its GPUs or threads."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from rlvr.data.model_files import resolve_model
from rlvr.data.prompts import make_template
from rlvr.serving.serve_config import ServeConfig
from rlvr.serving.server_spec import ServerSpec, server_command, server_env

__all__ = ["dry_run", "replica_specs", "shares"]

MODEL, VARIANT = "model", "variant"  # the arms
SHOWN = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE")


def shares(config: ServeConfig) -> dict[str, float]:
    """Arm -> its share of the users."""
    if config.variant is None:
        return {MODEL: 1.0}
    return {MODEL: 1 - config.variant.share, VARIANT: config.variant.share}


def replica_specs(
    config: ServeConfig, *, is_cpu: bool, num_cpus: int | None = None
) -> dict[str, list[ServerSpec]]:
    """Arm -> its replicas. Raises ConfigError for a template that makes no sense.

    `num_cpus`: cores that they share, where the recipe names no threads; None: this machine's.
    """
    paths = {MODEL: config.model.path}
    if config.variant is not None:
        paths[VARIANT] = config.variant.path
    num_gpus = config.serve.tensor_parallel
    num_servers = len(paths) * config.serve.replicas
    threads = max(1, (num_cpus or len(os.sched_getaffinity(0))) // num_servers)
    specs: dict[str, list[ServerSpec]] = {arm: [] for arm in paths}
    for i in range(num_servers):
        arm = list(paths)[i // config.serve.replicas]
        gpus = () if is_cpu else tuple(map(str, range(i * num_gpus, (i + 1) * num_gpus)))
        specs[arm].append(_spec(config, paths[arm], gpus=gpus, threads=threads))
    return specs


def dry_run(config: ServeConfig, *, folder: Path, is_cpu: bool) -> list[str]:
    """The command of each replica as a shell takes it; only the chat templates are written."""
    lines: list[str] = []
    for arm, specs in replica_specs(config, is_cpu=is_cpu).items():
        for spec in specs:
            port = (config.serve.port or 8000) + len(lines) + 1
            command = server_command(spec, port=port, folder=folder / arm)
            lines.append(shlex.join(["env", *_shown(server_env(spec)), *command]))
    return lines


def _spec(config: ServeConfig, path: str, *, gpus: tuple[str, ...], threads: int) -> ServerSpec:
    prompt, serve = config.prompt, config.serve
    return ServerSpec(
        model_path=resolve_model(path),  # a replica may work elsewhere
        template=make_template(prompt.template, system=prompt.system, prefill=prompt.prefill),
        name=serve.model_name,
        dtype=config.model.dtype,
        seed=config.seed,
        reasoning_parser=serve.reasoning_parser,
        max_model_tokens=serve.max_model_tokens,
        max_concurrent=serve.max_concurrent,
        kv_cache_gib=serve.kv_cache_gib if gpus else serve.kv_cache_gib or 1.0,
        tensor_parallel=serve.tensor_parallel,
        threads=serve.threads or threads,
        trust_remote_code=config.model.trust_remote_code,
        gpus=gpus,
        engine=serve.engine,
    )


def _shown(env: Mapping[str, str]) -> list[str]:
    return [f"{name}={env[name]}" for name in SHOWN if name in env]
