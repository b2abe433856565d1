"""AdamW that refuses to step on gradients that are not finite.

DeepSpeed hands its optimizer the gradients of one rank's share after averaging and clipping; this
is the one place that all ZeRO stages pass, so the check stands here and is the same for all of
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator

__all__ = ["GuardedAdamW"]


class GuardedAdamW(torch.optim.AdamW):
    """`skipped` says whether the last step was refused; weights and moments are untouched then."""

    skipped = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One AdamW update where the gradients are finite on all ranks, nothing otherwise."""
        grads = [
            p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        is_finite = (
            torch.stack([torch.isfinite(grad.sum()) for grad in grads]).all().to(torch.float32)
        )
        if dist.is_initialized():
            is_finite = is_finite.to(get_accelerator().current_device_name())  # not where offloaded
            dist.all_reduce(is_finite, op=dist.ReduceOp.MIN)
        self.skipped = not bool(is_finite)
        return None if self.skipped else super().step(closure)
