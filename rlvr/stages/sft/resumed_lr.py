"""The learning rate of a resumed run: the checkpoint's scheduler with the recipe's values."""

from __future__ import annotations

from typing import Any

__all__ = ["set_peak_lrs"]


def set_peak_lrs(optimizer: Any, scheduler: Any, *, first: float, others: float) -> None:
    """Let a LambdaLR that a checkpoint has restored use other peaks, from the next step on.

    first: peak of the first parameter group (with Muon the matrices); others: of all the others.
    """
    groups = optimizer.param_groups
    scheduler.base_lrs = [first, *[others] * (len(groups) - 1)]
    for group, peak, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = peak * factor(scheduler.last_epoch)
