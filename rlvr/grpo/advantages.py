"""Advantages of rollouts, relative to the rewards of their group.

    Group(rewards 1, 0, 0, 1) --assign_advantages--> Group(advantages 0.866, -0.866, -0.866, 0.866)

Advantages are computed on whole groups, before their rollouts are divided into micro-batches. A
rollout that could not be graded is excluded from mean and deviation and keeps None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlvr.types import Group

__all__ = ["AdvantageScale", "assign_advantages", "has_signal"]

AdvantageScale = Literal["std", "none"]

STD_EPSILON = 1e-4  # as in TRL: bounds the advantages of a group whose rewards hardly differ


def assign_advantages(groups: Sequence[Group], *, scale: AdvantageScale) -> list[Group]:
    """Return the groups, in order, with an advantage for each graded rollout.

    `std` is eq. 3 of DeepSeek-R1 (arXiv 2501.12948), A = (R - mean) / std. The paper does not
    specify the deviation and has no epsilon: like TRL 1.16 (GRPOTrainer), use the sample deviation
    (Bessel's correction) plus 1e-4. `none` is Dr. GRPO (arXiv 2503.20783, eq. 2): A = R - mean.
    Equal rewards, or a single one, give exactly 0.
    """
    return [_with_advantages(group, scale=scale) for group in groups]


def has_signal(group: Group) -> bool:
    """Whether the graded rewards differ; otherwise all advantages are 0."""
    return len({rollout.reward.value for rollout in group.graded}) > 1


def _with_advantages(group: Group, *, scale: AdvantageScale) -> Group:
    rewards = np.array([rollout.reward.value for rollout in group.graded], dtype=np.float64)
    advantages = iter(_advantages(rewards, scale=scale).tolist())
    rollouts = tuple(
        replace(rollout, advantage=None if rollout.reward.value is None else next(advantages))
        for rollout in group.rollouts
    )
    return replace(group, rollouts=rollouts)


def _advantages(rewards: NDArray[np.float64], *, scale: AdvantageScale) -> NDArray[np.float64]:
    if rewards.size == 0 or rewards.min() == rewards.max():
        return np.zeros_like(rewards)  # not R - mean: the mean of three times 0.1 is not 0.1
    centred: NDArray[np.float64] = rewards - rewards.mean()
    if scale == "none":
        return centred
    return centred / (float(rewards.std(ddof=1)) + STD_EPSILON)
