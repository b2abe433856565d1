"""The server of each replica that a recipe asks for, with its GPUs or threads."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from rlvr.data.model_files import resolve_model
from rlvr.data.prompts import make_template
from rlvr.serving.serve_config import ServeConfig
from rlvr.serving.server_spec import ServerSpec, server_command, server_env

__all__ = ["dry_run", "replica_specs", "shares"]

MODEL, VARIANT = "model", "variant"  # the arms
DRY_RUN_ENV = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE")


def shares(config: ServeConfig) -> dict[str, float]:
    """Return arm -> its share of the users."""
    if config.variant is None:
        return {MODEL: 1.0}
    return {MODEL: 1 - config.variant.share, VARIANT: config.variant.share}


def replica_specs(
    config: ServeConfig, *, is_cpu: bool, num_cpus: int | None = None
) -> dict[str, list[ServerSpec]]:
    """Return arm -> its replicas. Raises ConfigError for a malformed prompt template.

    `num_cpus`: cores to divide if the recipe sets no threads; None: those of this machine.
    """
    prompt, serve = config.prompt, config.serve
    paths = {MODEL: config.model.path}
    if config.variant is not None:
        paths[VARIANT] = config.variant.path
    num_servers = len(paths) * serve.replicas
    threads = max(1, (num_cpus or len(os.sched_getaffinity(0))) // num_servers)
    specs: dict[str, list[ServerSpec]] = {arm: [] for arm in paths}
    for i in range(num_servers):
        arm = list(paths)[i // serve.replicas]
        gpus = range(i * serve.tensor_parallel, (i + 1) * serve.tensor_parallel)
        specs[arm].append(
            ServerSpec(
                model_path=resolve_model(paths[arm]),  # a replica has another working directory
                template=make_template(
                    prompt.template, system=prompt.system, prefill=prompt.prefill
                ),
                name=serve.model_name,
                dtype=config.model.dtype,
                seed=config.seed,
                reasoning_parser=serve.reasoning_parser,
                max_model_tokens=serve.max_model_tokens,
                max_concurrent=serve.max_concurrent,
                kv_cache_gib=serve.kv_cache_gib or (1.0 if is_cpu else None),
                tensor_parallel=serve.tensor_parallel,
                threads=serve.threads or threads,
                trust_remote_code=config.model.trust_remote_code,
                gpus=() if is_cpu else tuple(map(str, gpus)),
                engine=serve.engine,
            )
        )
    return specs


def dry_run(config: ServeConfig, *, folder: Path, is_cpu: bool) -> list[str]:
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
