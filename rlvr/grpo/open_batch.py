"""The rollout batch that is being trained, and its mini-batches.

A rollout batch holds the tasks of `num_minibatches` optimizer steps; the last one of a run those of
the remaining steps. Each starts at a step that is a multiple of num_minibatches.

DeepSeek-R1 (Nature 645, Methods): each rollout of 8,192 outputs is split at random into 16
mini-batches and trained for a single inner epoch. Here each completion is in exactly one
mini-batch; an ungraded one too, which has no advantage and is left out by batching.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from rlvr.grpo.rollouts import RolloutBatch
from rlvr.types import Group, Ledger

__all__ = ["BatchPlan", "BufferCounts", "OpenBatch", "split_minibatches"]

FILE = "rollout_batch.pickle"  # in a checkpoint between two mini-batches


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferCounts:
    """Groups of the rollout buffer when a batch was taken."""

    stale: int  # since the last batch: dropped because they were too old, to be generated again
    no_signal: int  # since the last batch: left out because all completions are equally right
    waiting: int  # complete, for a later batch
    under_way: int  # being generated or graded


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The steps and tasks of a rollout batch."""

    first_step: int  # optimizer steps taken before its first mini-batch
    num_steps: int  # number of its mini-batches
    ledger: Ledger  # once it is trained
    max_tokens: int  # limit of a completion


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """A rollout batch being trained; a checkpoint between two mini-batches contains it."""

    plan: BatchPlan
    rollouts: RolloutBatch  # with advantages
    counts: BufferCounts

    @property
    def end_step(self) -> int:
        """Number of optimizer steps after its last mini-batch."""
        return self.plan.first_step + self.plan.num_steps

    def minibatch(self, step: int, *, seed: int) -> tuple[Group, ...]:
        """Return the mini-batch that is trained after `step` steps."""
        plan = self.plan
        minibatches = split_minibatches(
            self.rollouts.groups, num_minibatches=plan.num_steps, seed=(seed, plan.first_step)
        )
        return minibatches[step - plan.first_step]

    def save(self, folder: Path) -> None:
        """Write to a checkpoint folder."""
        (folder / FILE).write_bytes(pickle.dumps(self))

    @staticmethod
    def load(folder: Path) -> OpenBatch | None:
        """Load the open batch of a checkpoint folder, or None."""
        if not (folder / FILE).exists():
            return None
        found: OpenBatch = pickle.loads((folder / FILE).read_bytes())
        return found


Place = tuple[int, int]  # group index, index in the group


def split_minibatches(
    groups: Sequence[Group], *, num_minibatches: int, seed: Sequence[int]
) -> list[tuple[Group, ...]]:
    """Split the rollouts of groups at random into mini-batches whose sizes differ by at most one.

    The groups must have advantages already: part of a group does not determine its mean. A single
    mini-batch is the groups unchanged. The split depends only on `seed`.
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
    return tuple(_subset(groups[i], [k for _, k in those]) for i, those in by_group)


def _subset(group: Group, indices: Sequence[int]) -> Group:
    return replace(
        group,
        rollouts=tuple(group.rollouts[k] for k in indices),
        sample_indices=tuple(indices),
    )
