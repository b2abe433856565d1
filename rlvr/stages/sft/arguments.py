"""From a recipe to TRL's arguments and DeepSpeed's configuration: plain values, free of torch."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import DeepSpeedSection, SftConfig

__all__ = ["deepspeed_config", "has_checkpointing", "schedule", "training_arguments"]

logger = logging.getLogger(__name__)


def training_arguments(config: SftConfig, *, output_dir: Path, is_cpu: bool) -> dict[str, Any]:
    """Keyword arguments that SFTTrainer's and RewardTrainer's configurations share."""
    has_deepspeed = config.deepspeed.zero_stage is not None
    is_bfloat16 = config.dtype == "bfloat16"
    return {
        "output_dir": str(output_dir),
        "seed": config.seed,
        "use_cpu": is_cpu,
        # float32 weights compute in bfloat16 on a GPU; DeepSpeed takes the weights' own type
        "bf16": is_bfloat16 if has_deepspeed else not is_cpu,
        "max_length": config.max_tokens,
        **schedule(config),
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "optim": _optimizer(config, is_cpu=is_cpu),
        "learning_rate": config.lr,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": has_checkpointing(config, is_cpu=is_cpu),
        "save_strategy": "steps",
        "save_steps": config.checkpoint.every_steps,
        "report_to": "none",
        "logging_steps": config.log_steps,
        "disable_tqdm": True,
        "dataloader_pin_memory": not is_cpu,
        "deepspeed": deepspeed_config(config.deepspeed, dtype=config.dtype),
        "eos_token": config.eos_token,
    }


def has_checkpointing(config: SftConfig, *, is_cpu: bool) -> bool:
    """Whether activations are computed again."""
    chosen = config.gradient_checkpointing
    return not is_cpu if chosen is None else chosen


def _optimizer(config: SftConfig, *, is_cpu: bool) -> str:
    """transformers' name; Muon is made by the trainer itself."""
    if config.optimizer != "adamw_8bit":
        return "adamw_torch"
    if is_cpu:
        logger.warning("optimizer: adamw_8bit needs a GPU; plain adamw takes its place")
        return "adamw_torch"
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("optimizer: adamw_8bit: bitsandbytes is not installed; take adamw")
    return "adamw_bnb_8bit"


def schedule(config: SftConfig) -> dict[str, Any]:
    """How long, and how the learning rate moves."""
    warmup = 5 if config.warmup_steps is None else config.warmup_steps
    chosen: dict[str, Any] = {
        "num_train_epochs": 1.0 if config.num_epochs is None else config.num_epochs,
        "max_steps": -1 if config.max_steps is None else config.max_steps,
        # transformers reads a number below 1 as a share of all steps
        "warmup_steps": warmup if config.warmup_frac is None else config.warmup_frac,
        "lr_scheduler_type": config.lr_schedule,
    }
    if config.lr_schedule == "constant":
        chosen["lr_scheduler_type"] = "constant_with_warmup"
    if config.lr_schedule == "cosine_with_min_lr":
        chosen["lr_scheduler_kwargs"] = {"min_lr_rate": config.min_lr_frac}
    return chosen


def deepspeed_config(section: DeepSpeedSection, *, dtype: str) -> dict[str, Any] | None:
    """The DeepSpeed configuration that follows from ours; None: train without it.

    In bfloat16 the gradients of accumulated batches add up in float32 (ZeRO 1 and up).
    """
    if section.zero_stage is None:
        return None
    zero: dict[str, Any] = {"stage": section.zero_stage}
    if section.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    if section.offload_param:
        zero["offload_param"] = {"device": "cpu"}
    if section.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
