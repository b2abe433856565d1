"""What the controller tells a learner rank: plain values, free of torch, so that both sides can
import them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlvr.config import LearnerSection, LossSection

__all__ = ["LearnerSpec", "deepspeed_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec:
    """How to start one rank of the learner."""

    rank: int
    num_ranks: int
    model_path: str
    dtype: str
    trust_remote_code: bool
    seed: int
    temperature: (
        float  # of the engines' sampling: the log-probs compared are of the same distribution
    )
    learner: LearnerSection
    loss: LossSection
    backend: str  # gloo or nccl
    log_path: str


def deepspeed_config(learner: LearnerSection, *, dtype: str) -> dict[str, Any]:
    """The DeepSpeed configuration that follows from ours.

    Micro-batches differ in size and number from step to step, so the accumulation boundary is set
    by hand and the two batch sizes here mean nothing.

    In bfloat16 the gradients of micro-batches add up in float32, which DeepSpeed does from ZeRO
    stage 1 on: the bfloat16 sum of 512 equal numbers is half of what it should be.
    """
    is_bfloat16 = dtype == "bfloat16"
    zero: dict[str, Any] = {"stage": max(int(is_bfloat16), learner.zero_stage)}
    if learner.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": learner.max_grad_norm,
        "bf16": {"enabled": is_bfloat16},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
