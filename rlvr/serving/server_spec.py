"""The vLLM OpenAI servers of a recipe; the command line and environment of each.

A server is started as a module because the command `vllm` does not start in the CPU build.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards.transcript import CLOSE_THINK, OPEN_THINK
from rlvr.cluster.processes import actor_env
from rlvr.data.model_files import model_json
from rlvr.data.prompts import PromptTemplate, make_template
from rlvr.serving.jinja_template import chat_template, own_template
from rlvr.serving.serve_config import ServeConfig
from rlvr.types import Task

__all__ = [
    "MODEL",
    "VARIANT",
    "ServerSpec",
    "replica_specs",
    "server_command",
    "server_env",
    "shares",
]

MODEL = "model"  # the arms
VARIANT = "variant"
PARSERS = ("think_text", "think_text_open")  # of rlvr.serving.think_parser
DEFAULT_ON = {"enable-chunked-prefill", "enable-prefix-caching"}  # turned off with `no-`
CPU_BATCHED_TOKENS = 8192  # minimum; without chunked prefill the longest prompt must fit


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One server: `ServerSpec(model_path="runs/r1/model", template=make_template("chat"))`."""

    model_path: str
    template: PromptTemplate
    name: str = "model"  # what requests call the model
    host: str = "127.0.0.1"
    dtype: str = "float32"
    seed: int = 0
    reasoning_parser: str = "auto"  # auto, none, one of PARSERS, or one of vLLM's own
    max_model_tokens: int | None = None  # prompt and completion; None: the model's limit
    max_concurrent: int = 64
    kv_cache_gib: float | None = 1.0  # None: vLLM's default share of a GPU's memory
    tensor_parallel: int = 1
    threads: int = 1  # on a CPU
    trust_remote_code: bool = False
    gpus: tuple[str, ...] = ()  # empty: a CPU
    engine: Mapping[str, Any] = field(default_factory=dict)  # further options of vLLM's server

    @property
    def is_cpu(self) -> bool:
        """Whether the server runs without a GPU."""
        return not self.gpus


def shares(config: ServeConfig) -> dict[str, float]:
    """Return arm -> its share of the users."""
    if config.variant is None:
        return {MODEL: 1.0}
    return {MODEL: 1 - config.variant.share, VARIANT: config.variant.share}


def replica_specs(
    config: ServeConfig, models: Mapping[str, str], *, is_cpu: bool, num_cpus: int | None = None
) -> dict[str, list[ServerSpec]]:
    """Return arm -> its replicas. Raises ConfigError for a malformed prompt template.

    `models`: arm -> absolute path or hub name, since a replica has another working directory;
    `num_cpus`: cores to divide if the recipe sets no threads; None: those of this machine.
    """
    prompt, serve = config.prompt, config.serve
    num_servers = len(models) * serve.replicas
    threads = max(1, (num_cpus or len(os.sched_getaffinity(0))) // num_servers)
    specs: dict[str, list[ServerSpec]] = {arm: [] for arm in models}
    for i in range(num_servers):
        arm = list(models)[i // serve.replicas]
        gpus = range(i * serve.tensor_parallel, (i + 1) * serve.tensor_parallel)
        specs[arm].append(
            ServerSpec(
                model_path=models[arm],
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


def server_command(spec: ServerSpec, *, port: int, folder: Path) -> list[str]:
    """Return the arguments for Popen; write the chat template to `folder` if one is needed.

    Raises ConfigError if the model cannot have this template.
    """
    options: dict[str, Any] = {
        "model": spec.model_path,
        "served-model-name": spec.name,
        "host": spec.host,
        "port": port,
        "dtype": spec.dtype,
        "seed": spec.seed,
        "max-model-len": spec.max_model_tokens,
        "max-num-seqs": spec.max_concurrent,
        "tensor-parallel-size": spec.tensor_parallel,
        "trust-remote-code": spec.trust_remote_code,
        **_cache_options(spec),
        **_template_options(spec, folder),
        **_parser_options(spec),
        **(_cpu_options(spec) if spec.is_cpu else {}),
        **spec.engine,
    }
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *_flags(options)]


def server_env(spec: ServerSpec) -> dict[str, str]:
    """Return the environment of the server: this process's, with its threads and GPUs."""
    env = {**os.environ, **actor_env(num_threads=spec.threads, is_cpu=spec.is_cpu)}
    del env["VLLM_ENABLE_V1_MULTIPROCESSING"]  # the engine is a process of its own
    if spec.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(spec.gpus)
    elif spec.kv_cache_gib is not None:
        env["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(spec.kv_cache_gib)))
    return env


def _cache_options(spec: ServerSpec) -> dict[str, Any]:
    """With a fixed cache size, vLLM requires only `gpu-memory-utilization` to be free at start."""
    if spec.kv_cache_gib is None:
        return {}
    size = int(spec.kv_cache_gib * 2**30)
    return {"kv-cache-memory-bytes": size, "gpu-memory-utilization": 0.05}


def _template_options(spec: ServerSpec, folder: Path) -> dict[str, Any]:
    text = chat_template(spec.template, model_path=spec.model_path)
    if text is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{spec.name}.jinja"
    temporary = folder / f"{file.name}.{uuid.uuid4().hex}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)  # another replica may be reading it
    return {"chat-template": str(file.resolve())}


def _parser_options(spec: ServerSpec) -> dict[str, Any]:
    parser = _auto_parser(spec) if spec.reasoning_parser == "auto" else spec.reasoning_parser
    if parser == "none":
        return {}
    plugin = {"reasoning-parser-plugin": "rlvr.serving.think_parser"} if parser in PARSERS else {}
    return {"reasoning-parser": parser, **plugin}


def _auto_parser(spec: ServerSpec) -> str:
    """Return vLLM's parser if the model has its own template and the tags as tokens, else ours."""
    template = spec.template
    if template.text is None and not template.prefill and own_template(spec.model_path):
        tokens = model_json(spec.model_path, "tokenizer.json").get("added_tokens", ())
        is_token = {token["content"] for token in tokens} >= {OPEN_THINK, CLOSE_THINK}
        return "deepseek_r1" if is_token else "think_text"
    text = PromptTemplate(text=template.text or "{prompt}", prefill=template.prefill)
    is_open = text.render(Task(id="parser", prompt="?")).think_prefilled
    return "think_text_open" if is_open else "think_text"


def _cpu_options(spec: ServerSpec) -> dict[str, Any]:
    """Same as for the engines of a run (rlvr.rollout.engine)."""
    config = model_json(spec.model_path, "config.json")
    longest = spec.max_model_tokens or config.get("max_position_embeddings", 0)
    return {
        "enforce-eager": True,
        "enable-chunked-prefill": False,
        "max-num-batched-tokens": max(CPU_BATCHED_TOKENS, longest),
    }


def _flags(options: Mapping[str, Any]) -> list[str]:
    """{"dtype": "float32", "enforce_eager": True} -> ["--dtype", "float32", "--enforce-eager"]."""
    flags: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            # not every switch has a `--no-` form in every version of vLLM
            flags += [f"--{name}"] if value else [f"--no-{name}"] * (name in DEFAULT_ON)
        elif value is not None:
            flags += [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags
