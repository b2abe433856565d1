"""Rollouts between engines and learner: groups under way, complete groups, and what may be trained.

    tasks --fill--> under way (generating, grading) --> complete groups --take--> rollout batch
      ^                                                    |
      +---- put back: too old <----------------------------+----> left out: equally right

max_staleness: 0  The tasks of a batch are generated together, with the weights of its first step.
max_staleness: k  Groups flow one by one. When one is complete, another is begun: the engines are
                  full while the learner works, and no completion waits for a batch. A batch is made
                  of complete groups, the oldest first. Groups that would be too old for the next
                  batch belong to this one, which waits for them: no completion is lost because it
                  is long.

Ages are counted in rollout batches: a group that is begun under the weights of batch b is trained
in one of the batches b to b + k. Under these weights groups are begun only for the batches up to
b + k, so there is always one that has room for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr.data.tasks import TaskStream
from rlvr.errors import CheckError
from rlvr.grpo.advantages import AdvantageScale, assign_advantages
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.open_batch import BatchPlan, BufferCounts, OpenBatch
from rlvr.grpo.rollouts import EngineLoad, RolloutBatch, RolloutCollector
from rlvr.grpo.task_dealer import DealtTask, TaskDealer
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.types import Group, Ledger

__all__ = ["RolloutBuffer"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wave:
    """Tasks whose groups are generated and graded in one call."""

    policy_version: int  # of the engines when it was begun
    tasks: Sequence[DealtTask]
    work: asyncio.Task[RolloutBatch]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Complete:
    """A complete group."""

    policy_version: int  # of its wave
    position: int  # of its task
    group: Group
    oldest_version: int  # of its tokens
    newest_version: int
    generate_s: float
    grade_s: float


class RolloutBuffer:
    """Groups under way and complete groups, in the order of their tasks."""

    def __init__(
        self,
        config: GrpoConfig,
        *,
        collector: RolloutCollector,
        tasks: TaskStream,
        stop_token_ids: tuple[int, ...],
        engines: EngineLoad | None = None,
    ) -> None:
        """Without `engines`, as many tasks are under way as may be trained."""
        self._config = config
        self._collector = collector
        self._dealer = TaskDealer(tasks, difficulty=config.rollout.difficulty, seed=config.seed)
        self._stop_token_ids = stop_token_ids
        self._engines = engines if config.rollout.max_staleness else None
        self._step = 0  # of the next batch
        self._policy_version = 0  # of the engines
        self._waves: list[_Wave] = []
        self._num_under_way = 0  # tasks of waves
        self._num_unsubmitted = 0  # tasks of waves that have not reached the engines
        self._complete: list[_Complete] = []
        self._num_stale = 0  # since the last batch
        self._left_out: Counter[str] = Counter()  # task ids, since the last batch

    def seek(self, *, step: int, ledger: Ledger) -> None:
        """Let the next rollout batch start at `step`; the ledger says which tasks are left."""
        self._step = step
        self._dealer.seek(ledger)

    def save(self, folder: Path) -> None:
        """Write what a resumed run needs besides the ledger to a checkpoint folder."""
        self._dealer.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self._dealer.load(folder)

    def fill(self, *, policy_version: int) -> None:
        """Start tasks up to the limit; the engines hold the weights `policy_version`."""
        self._policy_version = policy_version
        if self._engines is not None:
            self._engines.on_room = self._refill  # full while the learner works
        self._dealer.check_batch(self._num_groups())
        self._refill()

    def _refill(self) -> None:
        config, num_missing = self._config, self._room()
        if num_missing <= 0:
            return
        tasks = self._dealer.deal(num_missing)
        size = len(tasks) if config.rollout.max_staleness == 0 else 1
        for first in range(0, len(tasks), size):
            max_tokens = config.rollout.max_tokens_at(self._due())
            self._waves.append(self._begin(tasks[first : first + size], max_tokens=max_tokens))

    async def take(self, *, advantage_scale: AdvantageScale) -> OpenBatch:
        """Return the next rollout batch, with advantages, in the order of the tasks.

        Raises:
            CheckError: too many tasks in a row have no signal, or a token has a wrong version.
        """
        config, step, num_groups = self._config, self._step, self._num_groups()
        while True:
            self._sort_out()
            self._refill()  # in place of groups that were dropped
            if len(self._complete) >= num_groups and not self._is_one_overdue():
                break
            works = [wave.work for wave in self._waves]
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        self._complete.sort(key=lambda one: (one.policy_version, one.position))
        taken = sorted(self._complete[:num_groups], key=lambda one: one.position)
        self._complete = self._complete[num_groups:]
        self._step = step + config.steps_in_batch(step)
        plan = BatchPlan(
            first_step=step,
            num_steps=self._step - step,
            ledger=self._ledger(),
            max_tokens=config.rollout.max_tokens_at(step),
        )
        groups = assign_advantages([one.group for one in taken], scale=advantage_scale)
        return OpenBatch(plan=plan, rollouts=_batch(taken, groups), counts=self._take_counts())

    async def cancel(self) -> None:
        """Cancel what is under way."""
        if self._engines is not None:
            self._engines.on_room = None
        works = [wave.work for wave in self._waves]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    # What is begun

    def _num_groups(self) -> int:
        """Return the size of the next batch."""
        return self._config.steps_in_batch(self._step) * self._config.rollout.tasks_per_step

    def _room(self) -> int:
        """Return how many tasks may be started now."""
        rollout = self._config.rollout
        if rollout.max_staleness == 0:
            return 0 if self._waves else self._num_groups() - len(self._complete)
        # what is begun under a policy version is trained at most max_staleness batches later
        last_step = self._policy_version + (rollout.max_staleness + 1) * rollout.num_minibatches
        num_steps = min(last_step, self._config.total_steps) - self._step
        num_trained = num_steps * rollout.tasks_per_step - self._num_held()
        if self._engines is None:
            return num_trained
        # a group that waits for an engine ages: fill the engines, and keep one for each at hand
        num_full = -(-self._engines.room() // rollout.group_size) - self._num_unsubmitted
        return min(num_trained, num_full + rollout.num_engines)

    def _num_held(self) -> int:
        return len(self._complete) + self._num_under_way

    def _due(self) -> int:
        """Return the first step of the batch in which the next task would be trained in turn."""
        num_minibatches = self._config.rollout.num_minibatches
        num_batches = self._num_held() // (num_minibatches * self._config.rollout.tasks_per_step)
        return self._step + num_batches * num_minibatches

    def _begin(self, tasks: Sequence[DealtTask], *, max_tokens: int) -> _Wave:
        rollout = self._config.rollout
        sampling = SamplingSpec(
            temperature=rollout.temperature,
            max_tokens=max_tokens,
            stop=tuple(rollout.stop),
            stop_token_ids=self._stop_token_ids,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
        )
        version = self._policy_version
        self._num_under_way += len(tasks)
        self._num_unsubmitted += len(tasks)

        async def work() -> RolloutBatch:
            self._num_unsubmitted -= len(tasks)
            return await self._collector.collect(
                [one.task for one in tasks],
                group_size=rollout.group_size,
                sampling=sampling,
                policy_version=version,
                seed_parts=("train", tasks[0].position),
            )

        return _Wave(policy_version=version, tasks=tasks, work=asyncio.create_task(work()))

    # What is complete

    def _sort_out(self) -> None:
        """Move what is finished to the complete groups; drop what may not be trained."""
        for wave in [wave for wave in self._waves if wave.work.done()]:
            groups = _groups_of(wave)  # raises what the work raised
            self._waves.remove(wave)
            self._num_under_way -= len(wave.tasks)
            for one in groups:
                self._check_versions(one)
                if self._has_signal(one.group):
                    self._complete.append(one)
                else:
                    self._left_out[one.group.task.id] += 1
        oldest = self._step - self._max_age
        stale = [one for one in self._complete if one.oldest_version < oldest]
        self._complete = [one for one in self._complete if one.oldest_version >= oldest]
        self._dealer.put_back(one.position for one in stale)
        self._num_stale += len(stale)
        self._check_left_out()

    @property
    def _max_age(self) -> int:
        """Largest number of optimizer steps between a token's weights and its rollout batch."""
        return self._config.rollout.max_staleness * self._config.rollout.num_minibatches

    def _is_one_overdue(self) -> bool:
        """Whether a group under way will be too old for the next batch."""
        oldest = self._step - self._max_age
        return any(wave.policy_version <= oldest for wave in self._waves)

    def _check_versions(self, one: _Complete) -> None:
        if one.newest_version > self._step:
            raise CheckError(
                f"a token of task {one.group.task.id} has policy version {one.newest_version}, "
                f"and the learner is at {self._step}: its staleness is unknown"
            )

    def _has_signal(self, group: Group) -> bool:
        """Whether the group counts; note the task's pass rate."""
        config = self._config
        values = [
            value
            for rollout in group.graded
            if (value := rollout.reward.values.get(config.accuracy_reward)) is not None
        ]
        self._dealer.note(group, values)
        return not config.filters_groups or len(set(values)) > 1

    def _check_left_out(self) -> None:
        rollout, num_groups = self._config.rollout, self._num_groups()
        if self._left_out.total() <= (rollout.max_oversampling - 1) * num_groups:
            return
        names = ", ".join(name for name, _ in self._left_out.most_common(5))
        raise CheckError(
            f"{self._left_out.total()} groups were left out of one rollout batch of {num_groups} "
            f"because all completions have the same {self._config.accuracy_reward} (limit "
            f"{rollout.max_oversampling:g} times the batch, rollout.max_oversampling); for example "
            f"the tasks {names}: they are too hard or too easy for this model"
        )

    # What is taken

    def _ledger(self) -> Ledger:
        dealt = self._dealer.ledger
        held = [one.position for one in self._complete]
        held += [one.position for wave in self._waves for one in wave.tasks]
        return Ledger(cursor=dealt.cursor, open=tuple(sorted([*dealt.open, *held])))

    def _take_counts(self) -> BufferCounts:
        counts = BufferCounts(
            stale=self._num_stale,
            no_signal=self._left_out.total(),
            waiting=len(self._complete),
            under_way=self._num_under_way,
        )
        self._num_stale = 0
        self._left_out.clear()
        return counts


def _groups_of(wave: _Wave) -> list[_Complete]:
    rollouts = wave.work.result()
    return [
        _Complete(
            policy_version=wave.policy_version,
            position=dealt.position,
            group=group,
            oldest_version=min(int(r.completion.policy_versions.min()) for r in group.rollouts),
            newest_version=max(int(r.completion.policy_versions.max()) for r in group.rollouts),
            generate_s=rollouts.generate_s,
            grade_s=rollouts.grade_s,
        )
        for dealt, group in zip(wave.tasks, rollouts.groups, strict=True)
    ]


def _batch(taken: Sequence[_Complete], groups: Sequence[Group]) -> RolloutBatch:
    return RolloutBatch(
        groups=tuple(groups),
        generate_s=max(one.generate_s for one in taken),
        grade_s=max(one.grade_s for one in taken),
        num_tokens=sum(len(r.completion.token_ids) for group in groups for r in group.rollouts),
    )
