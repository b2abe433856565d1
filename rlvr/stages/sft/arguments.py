"""TRL's arguments and DeepSpeed's configuration of a plan: plain values, without torch."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import DeepSpeedSection
from rlvr.stages.sft.sft_plan import SftPlan

__all__ = ["deepspeed_config", "training_arguments"]

logger = logging.getLogger(__name__)


def training_arguments(plan: SftPlan, *, output_dir: Path) -> dict[str, Any]:
    """Return the keyword arguments that the configurations of SFTTrainer and RewardTrainer share.

    Raises:
        ConfigError: the optimizer is not installed.
    """
    is_bfloat16 = plan.model.dtype == "bfloat16"
    return {
        "output_dir": str(output_dir),
        "seed": plan.seed,
        "use_cpu": plan.is_cpu,
        # float32 weights compute in bfloat16 on a GPU; DeepSpeed computes in the weights' type
        "bf16": not plan.is_cpu if plan.deepspeed.zero_stage is None else is_bfloat16,
        "max_length": plan.data.max_tokens,
        **plan.schedule,
        "per_device_train_batch_size": plan.batch_size,
        "gradient_accumulation_steps": plan.gradient_accumulation,
        "optim": _optimizer(plan),
        "learning_rate": plan.lr,
        "weight_decay": plan.weight_decay,
        "max_grad_norm": plan.max_grad_norm,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": plan.checkpoint.every_steps,
        "report_to": "none",
        "logging_steps": plan.log_steps,
        "disable_tqdm": True,
        "dataloader_pin_memory": not plan.is_cpu,
        "deepspeed": deepspeed_config(plan.deepspeed, dtype=plan.model.dtype),
        "eos_token": plan.model.eos_token,
    }


def deepspeed_config(section: DeepSpeedSection, *, dtype: str) -> dict[str, Any] | None:
    """Return the DeepSpeed configuration, or None to train without DeepSpeed.

    In bfloat16 the gradients of accumulated batches add up in float32 (ZeRO 1 and up).
    """
    if section.zero_stage is None:
        return None
    zero: dict[str, Any] = {"stage": section.zero_stage}
    for key in ("offload_optimizer", "offload_param"):
        if getattr(section, key):
            zero[key] = {"device": "cpu"}
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


def _optimizer(plan: SftPlan) -> str:
    """Return transformers' name; the trainer itself creates Muon."""
    if plan.optimizer != "adamw_8bit":
        return "adamw_torch"
    if plan.is_cpu:
        logger.warning("optimizer: adamw_8bit needs a GPU; using plain adamw")
        return "adamw_torch"
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("optimizer: adamw_8bit: bitsandbytes is not installed; use adamw")
    return "adamw_bnb_8bit"
