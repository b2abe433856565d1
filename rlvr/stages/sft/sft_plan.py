"""The plan of a run: its recipe, resolved once before anything heavy is imported.

    SftConfig --make_plan--> SftPlan --> dataset, models, arguments, trainer, memory estimate

A rank process makes the same plan again from config.yaml.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from rlvr.data.model_copy import MODEL_COPY, find_model, hold_model, origin_of
from rlvr.data.model_files import check_model, is_adapter, resolve_model
from rlvr.data.prompts import PromptTemplate, make_template
from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder
from rlvr.stages.sft.sft_config import TOY_MODELS, SftConfig

__all__ = ["SftPlan", "hold_weights", "make_plan"]

FIXED_BY_ADAPTER = {"r": "r", "alpha": "lora_alpha", "rslora": "use_rslora"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SftPlan:
    """One run of `rlvr sft`: `weights="Qwen/Qwen3-8B", adapter="runs/a/adapter"`."""

    config: SftConfig
    weights: str  # directory or hub name; toy or toy_small: a new model
    adapter: str | None  # directory of an adapter that is trained further
    template: PromptTemplate
    is_cpu: bool
    num_ranks: int  # processes
    rank_batch_size: int  # rows per backward pass of a rank
    threads: int  # CPU threads of a rank
    gradient_checkpointing: bool

    @property
    def is_new(self) -> bool:
        """Whether the model is a toy model with random weights."""
        return self.weights in TOY_MODELS

    @property
    def title(self) -> str:
        """The data, for error messages: its sources, or the name of the toy corpus."""
        config = self.config
        return ", ".join(source.path for source in config.sources) or str(config.data)

    @property
    def inputs(self) -> dict[str, str]:
        """Files and model folders by config key, for the manifest."""
        config = self.config
        inputs = {} if self.is_new else {"model": origin_of(self.weights)}
        if self.adapter is not None:
            inputs["resume_from"] = self.adapter
        for i, source in enumerate(config.sources):
            inputs["data" if isinstance(config.data, str) else f"data.{i}"] = source.path
        if config.distill is not None:
            inputs["distill.model"] = resolve_model(config.distill.model, key="distill.model")
        return inputs


def make_plan(config: SftConfig, *, is_cpu: bool) -> SftPlan:
    """Resolve a recipe. Raises ConfigError for a model, adapter, teacher or template."""
    weights, adapter = _find_model(config)
    if config.distill is not None:
        check_model(config.distill.model, key="distill.model")
    num_ranks, batch_size = config.num_ranks, config.batch_size
    num_cores = len(os.sched_getaffinity(0))
    if is_cpu and 1 < config.cpu_ranks <= num_cores:
        num_ranks, batch_size = config.cpu_ranks, batch_size // config.cpu_ranks
    prompt, checkpointing = config.prompt, config.gradient_checkpointing
    return SftPlan(
        config=config,
        weights=weights,
        adapter=adapter,
        template=make_template(prompt.template, system=prompt.system, prefill=prompt.prefill),
        is_cpu=is_cpu,
        num_ranks=num_ranks,
        rank_batch_size=batch_size,
        threads=config.threads or max(1, num_cores // num_ranks),
        gradient_checkpointing=not is_cpu if checkpointing is None else checkpointing,
    )


def hold_weights(plan: SftPlan, folder: RunFolder) -> SftPlan:
    """Return the plan with weights that stay: a whole model, copied if it is a checkpoint's."""
    if plan.is_new:
        return plan
    config = plan.config
    weights = hold_model(
        _weights_path(config, plan.adapter),
        copy=folder.path / MODEL_COPY,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
        key="model",
    )
    return replace(plan, weights=weights)


def _find_model(config: SftConfig) -> tuple[str, str | None]:
    """Return the weights, and the adapter of an earlier run that is trained further."""
    adapter = None
    if config.resume_from is not None:
        found = resolve_model(config.resume_from, key="resume_from")
        if not Path(found).is_dir():
            raise ConfigError(f"resume_from: no directory {found}; give the folder of a run")
        adapter = found if is_adapter(found) else None
    path = _weights_path(config, adapter)
    if path in TOY_MODELS:
        return path, adapter
    key = "model" if path == config.model else "resume_from"
    weights = find_model(path, copy=config.run_dir / MODEL_COPY, key=key)
    if adapter is not None:
        _check_adapter(Path(adapter), config, weights=weights)
    return weights, adapter


def _weights_path(config: SftConfig, adapter: str | None) -> str:
    """Return the path of the weights to train: an adapter is trained over those of `model`."""
    return config.model if adapter or config.resume_from is None else config.resume_from


def _check_adapter(adapter: Path, config: SftConfig, *, weights: str) -> None:
    if config.lora is None:
        raise ConfigError(f"resume_from: {adapter} is an adapter; add lora: {{}} to train it")
    saved = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    for key, saved_key in FIXED_BY_ADAPTER.items():
        value = getattr(config.lora, key)
        if saved.get(saved_key) != value:
            raise ConfigError(
                f"lora.{key}: {value}, but {adapter} was made with {saved.get(saved_key)}"
            )
    base = saved.get("base_model_name_or_path")
    if base and Path(base).resolve() not in (Path(weights).resolve(), Path(config.model).resolve()):
        raise ConfigError(f"model: {config.model}; the adapter in {adapter} belongs to {base}")
