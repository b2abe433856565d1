"""A harvest -> the mini-batches of its optimizer steps.

    512 groups x 16 --advantages--> 8,192 completions --shuffle--> 16 mini-batches of 512
                    (whole groups)                     (mixed)

DeepSeek-R1 (Nature 645, Methods): each rollout of 8,192 outputs is split at random into 16
mini-batches and trained for a single inner epoch. Each completion is in exactly one mini-batch, one
that could not be graded too: it has no advantage, and packing leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from rlvr.types import Group

__all__ = ["deal_minibatches"]

Place = tuple[int, int]  # of a rollout: index of its group, index in it


def deal_minibatches(
    groups: Sequence[Group], *, num_minibatches: int, seed: Sequence[int]
) -> list[tuple[Group, ...]]:
    """Groups that have only the rollouts of their mini-batch; sizes differ by one at most.

    The groups have their advantages already: what is left of a group says nothing about its mean.
    One mini-batch is the groups as they are. The same `seed` deals the same.
    """
    if num_minibatches == 1:
        return [tuple(groups)]
    places = [(i, k) for i, group in enumerate(groups) for k in range(len(group.rollouts))]
    order = np.random.default_rng(seed).permutation(len(places))
    return [
        _minibatch(groups, sorted(places[j] for j in share))
        for share in np.array_split(order, num_minibatches)
    ]


def _minibatch(groups: Sequence[Group], places: Sequence[Place]) -> tuple[Group, ...]:
    by_group = groupby(places, key=lambda place: place[0])
    return tuple(_some_of(groups[i], [k for _, k in those]) for i, those in by_group)


def _some_of(group: Group, indices: Sequence[int]) -> Group:
    return replace(
        group,
        rollouts=tuple(group.rollouts[k] for k in indices),
        sample_indices=tuple(indices),
    )
