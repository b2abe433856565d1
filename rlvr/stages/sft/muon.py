"""Muon for the weight matrices and AdamW for the rest, as one optimizer.

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). On the
toy corpus Muon needs about half of AdamW's tokens to learn copying and arithmetic.

A model has many matrices of few shapes: those of one shape are updated in one batched product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["MuonWithAdamW", "orthogonal"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration
NUM_ITERATIONS = 5
MAX_STACKED = 2**22  # numbers in a batched product; larger matrices gain nothing from a batch


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for matrices other than embeddings, AdamW for the rest; both have the same schedule."""

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        matrix_lr: float,
        other_lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in named if p.ndim != 2 or "embed" in name]
        self._adamw = torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.0)
        values = {"lr": matrix_lr, "weight_decay": weight_decay, "momentum": 0.95}
        super().__init__([{"params": matrices, **values}], {})
        self.param_groups += self._adamw.param_groups

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Step both; a closure is not supported."""
        assert closure is None
        # at each step, since accelerate reloads the state of a wrapped optimizer into new groups
        self._adamw.param_groups = self.param_groups[1:]
        self._adamw.state = self.state  # so that checkpoints hold the moments
        group = self.param_groups[0]
        for matrices in _stacks([p for p in group["params"] if p.grad is not None]):
            self._step_matrices(matrices, group)
        self._adamw.step()

    def _step_matrices(self, matrices: Sequence[Tensor], group: dict[str, Any]) -> None:
        """Update matrices of one shape: Nesterov momentum, made orthogonal."""
        grads = torch.stack([p.grad for p in matrices if p.grad is not None])
        momentum = torch.stack([self._momentum(p) for p in matrices])
        momentum.lerp_(grads, 1 - group["momentum"])
        torch._foreach_copy_([self._momentum(p) for p in matrices], momentum.unbind())
        updates = orthogonal(grads.lerp_(momentum, group["momentum"])).to(grads.dtype)
        rows, columns = grads.shape[1:]
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        rate = group["lr"] * math.sqrt(max(1, rows / columns))
        torch._foreach_add_(matrices, updates.unbind(), alpha=-rate)

    def _momentum(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        momentum: Tensor = state["momentum_buffer"]
        return momentum


def orthogonal(matrices: Tensor) -> Tensor:
    """[N, rows, columns] -> about the nearest orthogonal matrices, by Newton-Schulz iterations.

    Singular values end between 0.7 and 1.2; bfloat16 is exact enough for that.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.to(torch.bfloat16 if _has_fast_bfloat16(matrices.device) else torch.float32)
    if is_tall:
        x = x.mT.contiguous()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def _has_fast_bfloat16(device: torch.device) -> bool:
    """On a CPU without AVX-512, products in bfloat16 are a plain loop."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _stacks(
    matrices: Sequence[Tensor], *, max_stacked: int = MAX_STACKED
) -> Iterator[list[Tensor]]:
    """Yield matrices of one shape together, at most `max_stacked` numbers at a time."""
    by_shape: dict[torch.Size, list[Tensor]] = {}
    for matrix in matrices:
        by_shape.setdefault(matrix.shape, []).append(matrix)
    for shape, same in by_shape.items():
        size = max(1, max_stacked // shape.numel())
        for first in range(0, len(same), size):
            yield same[first : first + size]
