"""Rollout batches in progress, and the one being trained.

    tasks --fill--> batch 2 (generating, grading) --take--> batch 1: minibatch, minibatch, ...

A rollout batch holds the tasks of `num_minibatches` optimizer steps; the last one of a run those of
the remaining steps. Each starts at a step that is a multiple of num_minibatches.

DeepSeek-R1 (Nature 645, Methods): each rollout of 8,192 outputs is split at random into 16
mini-batches and trained for a single inner epoch. Here each completion is in exactly one
mini-batch; an ungraded one too, which has no advantage and is left out by batching.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from rlvr.data.tasks import TaskStream
from rlvr.grpo.advantages import AdvantageScale, assign_advantages
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.rollouts import RolloutBatch, RolloutCollector
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.types import Group

__all__ = ["BatchPlan", "OpenBatch", "RolloutBuffer", "sampling_spec", "split_minibatches"]

FILE = "rollout_batch.pickle"  # in a checkpoint between two mini-batches


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The steps and tasks of a rollout batch."""

    first_step: int  # optimizer steps taken before its first mini-batch
    num_steps: int  # number of its mini-batches
    cursor: int  # task cursor after its tasks
    max_tokens: int  # limit of a completion


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """A rollout batch being trained; a checkpoint between two mini-batches contains it."""

    plan: BatchPlan
    rollouts: RolloutBatch  # with advantages

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _InProgress:
    """A rollout batch being generated and graded."""

    plan: BatchPlan
    rollouts: asyncio.Task[RolloutBatch]


class RolloutBuffer:
    """At most max_staleness + 1 rollout batches in progress, in the order of training."""

    def __init__(
        self,
        config: GrpoConfig,
        *,
        collector: RolloutCollector,
        tasks: TaskStream,
        stop_token_ids: tuple[int, ...],
    ) -> None:
        self._config = config
        self._collector = collector
        self._tasks = tasks
        self._stop_token_ids = stop_token_ids
        self._items: deque[_InProgress] = deque()
        self._next_step = 0  # first step of the next rollout batch

    def seek(self, *, step: int, cursor: int) -> None:
        """Let the next rollout batch start at `step`, with the task at `cursor`."""
        self._next_step = step
        self._tasks.seek(cursor)

    def fill(self, *, policy_version: int) -> None:
        """Start rollout batches up to the limit; the engines hold the weights `policy_version`."""
        while len(self._items) <= self._config.rollout.max_staleness and (
            self._next_step < self._config.total_steps
        ):
            self._items.append(self._start_next(policy_version))

    def _start_next(self, policy_version: int) -> _InProgress:
        config, rollout = self._config, self._config.rollout
        first_step, first_cursor = self._next_step, self._tasks.cursor
        num_steps = config.steps_in_batch(first_step)
        sampling = sampling_spec(
            config,
            step=first_step,
            temperature=rollout.temperature,
            stop_token_ids=self._stop_token_ids,
        )
        sampling = replace(sampling, top_p=rollout.top_p, top_k=rollout.top_k)
        work = self._collector.collect(
            self._tasks.take(num_steps * rollout.tasks_per_step),
            group_size=rollout.group_size,
            sampling=sampling,
            policy_version=policy_version,
            seed_parts=("train", first_cursor),
        )
        self._next_step += num_steps
        plan = BatchPlan(
            first_step=first_step,
            num_steps=num_steps,
            cursor=self._tasks.cursor,
            max_tokens=sampling.max_tokens,
        )
        return _InProgress(plan=plan, rollouts=asyncio.create_task(work))

    async def take(self, *, advantage_scale: AdvantageScale) -> OpenBatch:
        """Return the oldest rollout batch, with advantages, once all of it is graded."""
        first = self._items[0]
        rollouts = await first.rollouts
        self._items.popleft()
        groups = tuple(assign_advantages(rollouts.groups, scale=advantage_scale))
        return OpenBatch(plan=first.plan, rollouts=replace(rollouts, groups=groups))

    async def wait_until_idle(self) -> None:
        """Wait until nothing is being generated or graded."""
        await asyncio.gather(*(item.rollouts for item in self._items))

    async def cancel(self) -> None:
        """Cancel the rollout batches in progress."""
        for item in self._items:
            item.rollouts.cancel()
        await asyncio.gather(*(item.rollouts for item in self._items), return_exceptions=True)


def sampling_spec(
    config: GrpoConfig, *, step: int, temperature: float, stop_token_ids: tuple[int, ...]
) -> SamplingSpec:
    """Return the sampling parameters after `step` steps, from the whole distribution."""
    return SamplingSpec(
        temperature=temperature,
        max_tokens=config.rollout.max_tokens_at(step),
        stop=tuple(config.rollout.stop),
        stop_token_ids=stop_token_ids,
    )


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
