"""Build the DeepSpeed engine of one learner rank: model, optimizer, configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from rlvr.config.training_sections import LearnerSection, LossSection
from rlvr.learner.cpu_linear import use_onednn
from rlvr.learner.cpu_norm import use_cpu_norms
from rlvr.learner.logprobs import completion_logprobs
from rlvr.learner.packed_attention import use_packed_attention
from rlvr.learner.packing import PackedRows

__all__ = ["GuardedAdamW", "LearnerSpec", "build_engine", "load_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec:
    """Arguments to start one rank of the learner."""

    rank: int
    num_ranks: int
    num_steps: int  # of the whole run
    model_path: str
    dtype: str
    trust_remote_code: bool
    seed: int
    temperature: float  # sampling temperature of the engines
    mismatch_limit: float  # |log ratio| to the engine in nats; tokens beyond it are counted
    learner: LearnerSection
    loss: LossSection
    backend: str  # gloo or nccl
    log_path: str


class GuardedAdamW(torch.optim.AdamW):
    """AdamW that skips steps with non-finite gradients.

    All ZeRO stages pass their rank's averaged and clipped gradients to the optimizer. `skipped`:
    whether the last step was skipped; weights and moments are unchanged then.
    """

    skipped = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights if the gradients are finite on all ranks."""
        from deepspeed.accelerator import get_accelerator

        grads = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        is_finite = torch.stack([torch.isfinite(grad.sum()) for grad in grads]).all().float()
        if dist.is_initialized():
            is_finite = is_finite.to(get_accelerator().current_device_name())  # if offloaded
            dist.all_reduce(is_finite, op=dist.ReduceOp.MIN)
        self.skipped = not bool(is_finite)
        return None if self.skipped else super().step(closure)


class _PolicyModule(torch.nn.Module):
    """Module for DeepSpeed whose forward returns log-probs, so that ZeRO-3 gathers the head too."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, token_ids: torch.Tensor, packed: PackedRows, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return completion_logprobs(self.model, token_ids, packed, temperature=temperature)


def build_engine(spec: LearnerSpec) -> tuple[Any, GuardedAdamW]:
    """Join the other ranks and return the DeepSpeed engine with its optimizer."""
    import deepspeed

    os.environ.update(RANK=str(spec.rank), WORLD_SIZE=str(spec.num_ranks))
    os.environ["LOCAL_RANK"] = "0"  # Ray shows an actor its own GPU only
    torch.manual_seed(spec.seed)
    deepspeed.init_distributed(dist_backend=spec.backend, timeout=timedelta(minutes=10))
    model = load_model(spec)
    if spec.learner.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = GuardedAdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=spec.learner.lr,
        betas=(0.9, 0.999),
        weight_decay=spec.learner.weight_decay,
        fused=not spec.learner.offload,
    )
    engine, *_ = deepspeed.initialize(
        model=_PolicyModule(model), optimizer=optimizer, config=_deepspeed_config(spec)
    )
    return engine, optimizer


def load_model(spec: LearnerSpec) -> Any:
    """Load the causal LM without dropout, since the engines generate without it."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        spec.model_path, dtype=getattr(torch, spec.dtype), trust_remote_code=spec.trust_remote_code
    )
    use_onednn(model)
    use_cpu_norms(model)
    use_packed_attention(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return model


def _deepspeed_config(spec: LearnerSpec) -> dict[str, Any]:
    """Return the DeepSpeed configuration.

    Micro-batches vary in size and number, so the accumulation boundary is set by hand and the two
    batch sizes here have no effect.

    In bfloat16, gradients of micro-batches must accumulate in float32, which DeepSpeed does from
    ZeRO stage 1 on: the bfloat16 sum of 512 equal numbers is half of the right one.
    """
    is_bfloat16 = spec.dtype == "bfloat16"
    zero: dict[str, Any] = {"stage": max(int(is_bfloat16), spec.learner.zero_stage)}
    if spec.learner.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": spec.learner.max_grad_norm,
        "bf16": {"enabled": is_bfloat16},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
