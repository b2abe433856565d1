"""The plan of a run: its recipe, resolved once before anything heavy is imported.

    SftConfig --make_plan--> SftPlan --> dataset, models, arguments, trainer, memory estimate

Only this module interprets the recipe. A rank process makes the same plan again from config.yaml.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from rlvr.config.sections import CheckpointSection, TrackersSection
from rlvr.data.model_files import check_model
from rlvr.data.prompts import PromptTemplate, make_template
from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import (
    TOY_MODELS,
    DeepSpeedSection,
    DistillSection,
    DomainSection,
    LoraSection,
    SftConfig,
    SourceSection,
)

__all__ = ["DataPlan", "ModelPlan", "SftPlan", "make_plan"]

FIXED_BY_ADAPTER = {"r": "r", "alpha": "lora_alpha", "rslora": "use_rslora"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """The model to train: `weights="Qwen/Qwen3-8B", adapter="runs/a/adapter"`."""

    weights: str  # directory or hub name; toy or toy_small: a new model
    adapter: str | None  # directory of an adapter that is trained further
    lora: LoraSection | None  # None: all weights are trained
    dtype: Literal["float32", "bfloat16"]
    load_in_4bit: bool
    trust_remote_code: bool
    eos_token: str | None  # None: the tokenizer's own

    @property
    def is_new(self) -> bool:
        """Whether the model is a toy model with random weights."""
        return self.weights in TOY_MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlan:
    """The rows to train on, and how each of them becomes tokens."""

    title: str  # for error messages; names the toy corpus if there are no sources
    sources: tuple[SourceSection, ...]
    num_rows: int | None  # None: all
    seed: int
    has_preferences: bool  # rows with chosen and rejected, or with a label
    template: PromptTemplate
    answer_template: str
    thinking: bool | None
    no_thought: Literal["plain", "empty_block"]
    learn_prompt: bool
    max_tokens: int
    drops_long: bool
    packing: bool
    domains: DomainSection | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SftPlan:
    """One run of `rlvr sft`."""

    name: str
    seed: int
    model: ModelPlan
    data: DataPlan
    inputs: Mapping[str, str]  # config key -> file or model folder, for the manifest
    is_cpu: bool
    num_ranks: int
    threads: int  # CPU threads of a rank
    deepspeed: DeepSpeedSection
    batch_size: int  # rows per rank and backward pass
    gradient_accumulation: int  # backward passes per optimizer step
    gradient_checkpointing: bool
    schedule: Mapping[str, Any]  # length and learning rate, as transformers' arguments
    optimizer: Literal["adamw", "adamw_8bit", "muon"]
    lr: float
    matrix_lr: float | None  # None: without Muon
    weight_decay: float
    max_grad_norm: float
    label_smoothing: float
    distill: DistillSection | None
    log_steps: int
    checkpoint: CheckpointSection
    trackers: TrackersSection


def make_plan(config: SftConfig, *, is_cpu: bool) -> SftPlan:
    """Resolve a recipe. Raises ConfigError for a model, adapter, teacher or template."""
    model = _plan_model(config)
    if config.distill is not None:
        check_model(config.distill.model, key="distill.model")
    resolved = {
        "model": model,
        "data": _plan_data(config),
        "inputs": _inputs(config, model),
        "is_cpu": is_cpu,
        "threads": config.threads or max(1, len(os.sched_getaffinity(0)) // config.num_ranks),
        "schedule": _schedule(config),
    }
    if config.gradient_checkpointing is None:
        resolved["gradient_checkpointing"] = not is_cpu
    return SftPlan(**{**_unchanged(config, SftPlan), **resolved})


def _unchanged(config: SftConfig, plan: type[Any]) -> dict[str, Any]:
    """Return the keys of the recipe that are also fields of the plan."""
    names = [field.name for field in fields(plan) if field.name in SftConfig.model_fields]
    return {name: getattr(config, name) for name in names}


def _plan_model(config: SftConfig) -> ModelPlan:
    weights, adapter, key = config.model, None, "model"
    if config.resume_from is not None:
        folder, key = Path(config.resume_from), "resume_from"
        for path in (folder / "adapter", folder / "model", folder):
            if (path / "adapter_config.json").exists():
                adapter = str(path)
                _check_adapter(path, config)
                break
            if (path / "config.json").exists():
                weights = str(path)
                break
        else:
            raise ConfigError(
                f"resume_from: {folder} has neither an adapter nor a model; give the folder of a "
                "finished `rlvr sft`"
            )
    if weights not in TOY_MODELS:
        check_model(weights, key=key)
    return ModelPlan(weights=weights, adapter=adapter, **_unchanged(config, ModelPlan))


def _check_adapter(adapter: Path, config: SftConfig) -> None:
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
    if base and Path(base).resolve() != Path(config.model).resolve():
        raise ConfigError(f"model: {config.model}; the adapter in {adapter} belongs to {base}")


def _plan_data(config: SftConfig) -> DataPlan:
    prompt = config.prompt
    return DataPlan(
        title=", ".join(source.path for source in config.sources) or str(config.data),
        sources=config.sources,
        has_preferences=config.head == "scalar",
        template=make_template(prompt.template, system=prompt.system, prefill=prompt.prefill),
        drops_long=config.too_long == "drop",
        **_unchanged(config, DataPlan),
    )


def _inputs(config: SftConfig, model: ModelPlan) -> dict[str, str]:
    inputs = {} if model.is_new else {"model": model.weights}
    if model.adapter is not None:
        inputs["resume_from"] = model.adapter
    for i, source in enumerate(config.sources):
        inputs["data" if isinstance(config.data, str) else f"data.{i}"] = source.path
    return inputs if config.distill is None else {**inputs, "distill.model": config.distill.model}


def _schedule(config: SftConfig) -> dict[str, Any]:
    warmup_steps = 5 if config.warmup_steps is None else config.warmup_steps
    is_constant = config.lr_schedule == "constant"
    schedule: dict[str, Any] = {
        "num_train_epochs": 1.0 if config.num_epochs is None else config.num_epochs,
        "max_steps": -1 if config.max_steps is None else config.max_steps,
        # transformers takes a number below 1 as a fraction of all steps
        "warmup_steps": warmup_steps if config.warmup_frac is None else config.warmup_frac,
        "lr_scheduler_type": "constant_with_warmup" if is_constant else config.lr_schedule,
    }
    if config.lr_schedule == "cosine_with_min_lr":
        schedule["lr_scheduler_kwargs"] = {"min_lr_rate": config.min_lr_frac}
    return schedule
