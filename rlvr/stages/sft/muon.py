"""Muon for the weight matrices and AdamW for the rest, as one optimizer.

On the toy corpus Muon needs about half of AdamW's tokens to learn copying and arithmetic, so a base
model trains in two minutes on two cores. Source: K. Jordan et al., "Muon: An optimizer for hidden
layers in neural networks" (2024), in torch's implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["MuonWithAdamW"]


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers that share this one's parameter groups, and so its learning rate schedule."""

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
        self._muon = torch.optim.Muon(
            matrices, lr=matrix_lr, weight_decay=weight_decay, momentum=0.95
        )
        self._adamw = torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.0)
        super().__init__([{"params": matrices}, {"params": others}], {"lr": other_lr})
        self.param_groups = [*self._muon.param_groups, *self._adamw.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Step both; a closure is not supported."""
        assert closure is None
        # at each step, since accelerate reloads the state of a wrapped optimizer into new groups
        self._muon.param_groups = self.param_groups[:1]
        self._adamw.param_groups = self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state  # so that checkpoints hold the moments
        self._muon.step()
        self._adamw.step()
