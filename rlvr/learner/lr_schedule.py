"""The learning rate of each optimizer step: warm-up, then constant, linear or cosine."""

from __future__ import annotations

import math

from rlvr.config.training_sections import LearnerSection

__all__ = ["lr_at"]


def lr_at(step: int, section: LearnerSection, *, num_steps: int) -> float:
    """Return the learning rate of the step that is taken after `step` steps, of `num_steps`.

    Warm-up of W steps: lr * (step + 1) / W. Then, with progress p = (step - W) / (num_steps - W)
    and floor m = min_lr_frac:

        linear   lr * (m + (1 - m) * (1 - p))
        cosine   lr * (m + (1 - m) * (1 + cos(pi p)) / 2)    (Loshchilov and Hutter 2017, eq. 5)
    """
    warmup = section.warmup_steps
    if step < warmup:
        return section.lr * ((step + 1) / warmup)
    if section.lr_schedule == "constant":
        return section.lr
    progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    is_linear = section.lr_schedule == "linear"
    left = 1 - progress if is_linear else (1 + math.cos(math.pi * progress)) / 2
    return section.lr * (section.min_lr_frac + (1 - section.min_lr_frac) * left)
