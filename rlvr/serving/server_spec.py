"""What vLLM's own OpenAI server is started with: its command line and its environment.

The module is run and not the command `vllm`, which the CPU build cannot start.
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

from rlvr.cluster.processes import actor_env
from rlvr.data.model_files import resolve_model
from rlvr.data.prompts import PromptTemplate
from rlvr.serving.jinja_template import chat_template, own_template
from rlvr.types import Task

__all__ = ["PARSERS", "ServerSpec", "server_command", "server_env"]

AUTO, NO_PARSER = "auto", "none"
PARSERS = ("think_text", "think_text_open")  # of rlvr.serving.think_parser
PLUGIN = "rlvr.serving.think_parser"
TAGS = {"<think>", "</think>"}
SWITCHES_ON = {"enable-chunked-prefill", "enable-prefix-caching"}  # unless they are turned off
CPU_BATCHED_TOKENS = 8192  # at least; prompts are not cut on a CPU, so the longest must fit


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One server: `ServerSpec(model_path="runs/r1/model", template=make_template("chat"))`."""

    model_path: str
    template: PromptTemplate
    name: str = "model"  # what requests call the model
    host: str = "127.0.0.1"
    dtype: str = "float32"
    seed: int = 0
    reasoning_parser: str = AUTO  # auto, none, one of PARSERS, or a name that vLLM knows
    max_model_tokens: int | None = None  # prompt and completion; None: what the model can read
    max_concurrent: int = 64
    kv_cache_gib: float | None = 1.0  # None: what vLLM takes of a GPU's memory
    tensor_parallel: int = 1
    threads: int = 1  # on a CPU
    trust_remote_code: bool = False
    gpus: tuple[str, ...] = ()  # empty: a CPU
    engine: Mapping[str, Any] = field(default_factory=dict)  # further options of vLLM's server

    @property
    def is_cpu(self) -> bool:
        """Without a GPU."""
        return not self.gpus


def server_command(spec: ServerSpec, *, port: int, folder: Path) -> list[str]:
    """Arguments for Popen; writes the chat template, where one is needed, to `folder`.

    Raises:
        ConfigError: a template that the model cannot have.
    """
    options: dict[str, Any] = {
        "model": resolve_model(spec.model_path),
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
    """The whole environment of the server: ours, with threads that do not fight for cores."""
    env = {**os.environ, **actor_env(num_threads=spec.threads, is_cpu=spec.is_cpu)}
    del env["VLLM_ENABLE_V1_MULTIPROCESSING"]  # the engine beside the server, not within
    if spec.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(spec.gpus)
    elif spec.kv_cache_gib is not None:
        env["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(spec.kv_cache_gib)))
    return env


def _cache_options(spec: ServerSpec) -> dict[str, Any]:
    """With the size given, only what must be free at the start is asked for (as rollout has it)."""
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
    whole = folder / f"{spec.name}.jinja.{uuid.uuid4().hex}"
    whole.write_text(text, encoding="utf-8")
    whole.replace(file)  # another replica may be reading it
    return {"chat-template": str(file.resolve())}


def _parser_options(spec: ServerSpec) -> dict[str, Any]:
    parser = _parser(spec) if spec.reasoning_parser == AUTO else spec.reasoning_parser
    if parser == NO_PARSER:
        return {}
    plugin = {"reasoning-parser-plugin": PLUGIN} if parser in PARSERS else {}
    return {"reasoning-parser": parser, **plugin}


def _parser(spec: ServerSpec) -> str:
    """vLLM's own for a model that thinks by its own template with tags as tokens, else ours."""
    template = spec.template
    if template.text is None and not template.prefill and own_template(spec.model_path):
        return "deepseek_r1" if _added_tokens(spec.model_path) >= TAGS else "think_text"
    text = PromptTemplate(text=template.text or "{prompt}", prefill=template.prefill)
    is_open = text.render(Task(id="parser", prompt="?")).think_prefilled
    return "think_text_open" if is_open else "think_text"


def _added_tokens(model_path: str) -> set[str]:
    file = Path(model_path) / "tokenizer.json"
    data = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {token["content"] for token in data.get("added_tokens", ())}


def _cpu_options(spec: ServerSpec) -> dict[str, Any]:
    """As the engines of a run have them (rlvr.rollout.vllm_args)."""
    file = Path(spec.model_path) / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    longest = spec.max_model_tokens or config.get("max_position_embeddings", 0)
    return {
        "enforce-eager": True,
        "enable-chunked-prefill": False,
        "max-num-batched-tokens": max(CPU_BATCHED_TOKENS, longest),
    }


def _flags(options: Mapping[str, Any]) -> list[str]:
    """`{"dtype": "float32", "enforce_eager": True}` as a command line has it."""
    flags: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            # a switch that stands off is not on every version's command line with a `no-`
            flags += [f"--{name}"] if value else [f"--no-{name}"] * (name in SWITCHES_ON)
        elif value is not None:
            flags += [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags
