"""Rollout batches under way, and the one that is trained.

    tasks --start--> rollout batch 2 (written) --take--> rollout batch 1: minibatch, minibatch, ... (trained)

A rollout batch has the tasks of `num_minibatches` optimizer steps, and the last one of a run those
of the steps that are left. Each begins at a step that is a multiple of num_minibatches.
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

__all__ = ["BatchPlan", "OpenBatch", "Place", "RolloutBuffer", "deal_minibatches", "sampling_spec"]

FILE = "rollout_batch.pickle"  # in a checkpoint that was made between two mini-batches


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """Which part of a run a rollout batch is for."""

    first_step: int  # optimizer steps before its first mini-batch
    num_steps: int  # its mini-batches
    cursor: int  # behind its tasks
    max_tokens: int  # limit of its completions


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """A rollout batch that is trained, with all that this needs: a checkpoint may keep it."""

    plan: BatchPlan
    rollouts: RolloutBatch  # its groups have their advantages

    @property
    def end_step(self) -> int:
        """Optimizer steps after its last mini-batch."""
        return self.plan.first_step + self.plan.num_steps

    def minibatch(self, step: int, *, seed: int) -> tuple[Group, ...]:
        """What is trained after `step` steps: a share of the completions, of mixed groups."""
        plan = self.plan
        dealt = deal_minibatches(
            self.rollouts.groups, num_minibatches=plan.num_steps, seed=(seed, plan.first_step)
        )
        return dealt[step - plan.first_step]

    def save(self, folder: Path) -> None:
        """Write it into a checkpoint's folder."""
        (folder / FILE).write_bytes(pickle.dumps(self))

    @staticmethod
    def load(folder: Path) -> OpenBatch | None:
        """That of a checkpoint of our own; None where it was made between two rollout batches."""
        if not (folder / FILE).exists():
            return None
        found: OpenBatch = pickle.loads((folder / FILE).read_bytes())
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnderWay:
    """A rollout batch that is being written and graded."""

    plan: BatchPlan
    writing: asyncio.Task[RolloutBatch]


class RolloutBuffer:
    """At most max_staleness + 1 rollout batches under way, in the order in which they will be
    trained.
    """

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
        self._items: deque[_UnderWay] = deque()
        self._next_step = 0  # after which the next rollout batch is trained

    def seek(self, *, step: int, cursor: int) -> None:
        """Makes the next rollout batch the one after `step` steps, with the task at `cursor`."""
        self._next_step = step
        self._tasks.seek(cursor)

    def start(self, *, policy_version: int) -> None:
        """Start as many as may be under way; the engines hold the weights `policy_version`."""
        while len(self._items) <= self._config.rollout.max_staleness and (
            self._next_step < self._config.num_steps
        ):
            self._items.append(self._start_next(policy_version))

    def _start_next(self, policy_version: int) -> _UnderWay:
        config, rollout = self._config, self._config.rollout
        first_step, first_cursor = self._next_step, self._tasks.cursor
        num_steps = config.steps_in_batch(first_step)
        sampling = sampling_spec(
            config,
            step=first_step,
            temperature=rollout.temperature,
            stop_token_ids=self._stop_token_ids,
        )
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
        return _UnderWay(plan=plan, writing=asyncio.create_task(work))

    async def take(self, *, advantage_scale: AdvantageScale) -> OpenBatch:
        """The first one, as soon as it is written and graded; until then it stays where it is."""
        first = self._items[0]
        rollouts = await first.writing
        self._items.popleft()
        groups = tuple(assign_advantages(rollouts.groups, scale=advantage_scale))
        return OpenBatch(plan=first.plan, rollouts=replace(rollouts, groups=groups))

    async def all_written(self) -> None:
        """Wait until no completion is being written."""
        await asyncio.gather(*(item.writing for item in self._items))

    async def abandon(self) -> None:
        """End what is under way."""
        for item in self._items:
            item.writing.cancel()
        await asyncio.gather(*(item.writing for item in self._items), return_exceptions=True)


def sampling_spec(
    config: GrpoConfig, *, step: int, temperature: float, stop_token_ids: tuple[int, ...]
) -> SamplingSpec:
    """How the engines write after `step` steps."""
    return SamplingSpec(
        temperature=temperature,
        max_tokens=config.rollout.max_tokens_at(step),
        stop=tuple(config.rollout.stop),
        stop_token_ids=stop_token_ids,
    )


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
