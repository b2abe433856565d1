"""Harvests under way, and the one that is trained.

    tasks --start--> harvest 2 (written) --take--> harvest 1: minibatch, minibatch, ... (trained)

A harvest has the tasks of `num_minibatches` optimizer steps, and the last one of a run those of the
steps that are left. Each begins at a step that is a multiple of num_minibatches.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from rlvr.advantages import AdvantageScale, assign_advantages
from rlvr.config import GrpoConfig
from rlvr.harvest import Harvest, Harvester
from rlvr.minibatches import deal_minibatches
from rlvr.rollout.requests import SamplingSpec
from rlvr.tasks import TaskStream
from rlvr.types import Group

__all__ = ["HarvestPlan", "HarvestQueue", "OpenHarvest", "sampling_spec"]

FILE = "harvest.pickle"  # in a checkpoint that was made between two mini-batches


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestPlan:
    """Which part of a run a harvest is for."""

    first_step: int  # optimizer steps before its first mini-batch
    num_steps: int  # its mini-batches
    cursor: int  # behind its tasks
    max_tokens: int  # limit of its completions


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHarvest:
    """A harvest that is trained, with all that this needs: a checkpoint may keep it."""

    plan: HarvestPlan
    harvest: Harvest  # its groups have their advantages

    @property
    def end_step(self) -> int:
        """Optimizer steps after its last mini-batch."""
        return self.plan.first_step + self.plan.num_steps

    def minibatch(self, step: int, *, seed: int) -> tuple[Group, ...]:
        """What is trained after `step` steps: a share of the completions, of mixed groups."""
        plan = self.plan
        dealt = deal_minibatches(
            self.harvest.groups, num_minibatches=plan.num_steps, seed=(seed, plan.first_step)
        )
        return dealt[step - plan.first_step]

    def save(self, folder: Path) -> None:
        """Write it into a checkpoint's folder."""
        (folder / FILE).write_bytes(pickle.dumps(self))

    @staticmethod
    def load(folder: Path) -> OpenHarvest | None:
        """That of a checkpoint of our own; None where it was made between two harvests."""
        if not (folder / FILE).exists():
            return None
        found: OpenHarvest = pickle.loads((folder / FILE).read_bytes())
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnderWay:
    """A harvest that is being written and graded."""

    plan: HarvestPlan
    writing: asyncio.Task[Harvest]


class HarvestQueue:
    """At most max_staleness + 1 harvests under way, in the order in which they will be trained."""

    def __init__(
        self,
        config: GrpoConfig,
        *,
        harvester: Harvester,
        tasks: TaskStream,
        stop_token_ids: tuple[int, ...],
    ) -> None:
        self._config = config
        self._harvester = harvester
        self._tasks = tasks
        self._stop_token_ids = stop_token_ids
        self._items: deque[_UnderWay] = deque()
        self._next_step = 0  # after which the next harvest is trained

    def seek(self, *, step: int, cursor: int) -> None:
        """Makes the next harvest the one after `step` steps, with the task at `cursor`."""
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
        num_steps = config.steps_of_harvest(first_step)
        sampling = sampling_spec(
            config,
            step=first_step,
            temperature=rollout.temperature,
            stop_token_ids=self._stop_token_ids,
        )
        harvest = self._harvester.harvest(
            self._tasks.take(num_steps * rollout.tasks_per_step),
            group_size=rollout.group_size,
            sampling=sampling,
            policy_version=policy_version,
            seed_parts=("train", first_cursor),
        )
        self._next_step += num_steps
        plan = HarvestPlan(
            first_step=first_step,
            num_steps=num_steps,
            cursor=self._tasks.cursor,
            max_tokens=sampling.max_tokens,
        )
        return _UnderWay(plan=plan, writing=asyncio.create_task(harvest))

    async def take(self, *, advantage_scale: AdvantageScale) -> OpenHarvest:
        """The first one, as soon as it is written and graded; until then it stays where it is."""
        first = self._items[0]
        harvest = await first.writing
        self._items.popleft()
        groups = tuple(assign_advantages(harvest.groups, scale=advantage_scale))
        return OpenHarvest(plan=first.plan, harvest=replace(harvest, groups=groups))

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
