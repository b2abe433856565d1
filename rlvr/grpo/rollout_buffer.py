"""Rollouts between engines and learner: groups under way, complete groups, and what may be trained.

    tasks --fill--> under way (generating, grading) --> complete groups --take--> rollout batch
      ^                                                    |
      +---- put back: too old <----------------------------+----> left out: equally right

max_staleness: 0  The tasks of a batch are generated together, with the weights of its first step.
max_staleness: k  Groups flow one by one. At most k + 1 batches of them are under way or complete,
                  so the engines are full while the learner works, and no completion waits for a
                  batch. A batch is made of complete groups, the oldest first. Groups that would be
                  too old for the next batch belong to this one, which waits for them: no completion
                  is lost because it is long.

Ages are counted in rollout batches: a group that was begun when the engines held the weights of
batch b may be trained in the batches b to b + max_staleness.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr.data.tasks import TaskStream
from rlvr.errors import CheckError
from rlvr.grpo.advantages import AdvantageScale, assign_advantages
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.open_batch import BatchPlan, BufferCounts, OpenBatch
from rlvr.grpo.rollouts import RolloutBatch, RolloutCollector
from rlvr.grpo.task_dealer import DealtTask, TaskDealer
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.types import Group, Ledger

__all__ = ["RolloutBuffer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wave:
    """Tasks whose groups are generated and graded in one call."""

    step: int  # optimizer steps before it was begun
    tasks: Sequence[DealtTask]
    work: asyncio.Task[RolloutBatch]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Complete:
    """A complete group."""

    step: int  # of its wave
    position: int  # of its task
    group: Group
    generate_s: float
    grade_s: float

    @property
    def oldest_version(self) -> int:
        return min(int(r.completion.policy_versions.min()) for r in self.group.rollouts)

    @property
    def newest_version(self) -> int:
        return max(int(r.completion.policy_versions.max()) for r in self.group.rollouts)


class RolloutBuffer:
    """Groups under way and complete groups, in the order of their tasks."""

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
        self._dealer = TaskDealer(tasks, difficulty=config.rollout.difficulty, seed=config.seed)
        self._stop_token_ids = stop_token_ids
        self._step = 0  # of the next batch
        self._waves: list[_Wave] = []
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
        config = self._config
        num_missing = self._room()
        if num_missing <= 0:
            return
        tasks = self._dealer.deal(num_missing)
        size = len(tasks) if config.rollout.max_staleness == 0 else 1
        for first in range(0, len(tasks), size):
            max_tokens = config.rollout.max_tokens_at(self._due())
            wave = self._begin(tasks[first : first + size], policy_version, max_tokens=max_tokens)
            self._waves.append(wave)

    async def take(self, *, advantage_scale: AdvantageScale) -> OpenBatch:
        """Return the next rollout batch, with advantages, in the order of the tasks.

        Raises:
            CheckError: too many tasks in a row have no signal, or a token has a wrong version.
        """
        config, step = self._config, self._step
        num_steps = config.steps_in_batch(step)
        num_groups = num_steps * config.rollout.tasks_per_step
        while True:
            self._sort_out()
            self.fill(policy_version=step)  # in place of groups that were dropped
            if len(self._complete) >= num_groups and not self._is_one_overdue():
                break
            works = [wave.work for wave in self._waves]
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        self._complete.sort(key=lambda one: (one.step, one.position))
        taken = sorted(self._complete[:num_groups], key=lambda one: one.position)
        self._complete = self._complete[num_groups:]
        self._step = step + num_steps
        plan = BatchPlan(
            first_step=step,
            num_steps=num_steps,
            ledger=self._ledger(),
            max_tokens=config.rollout.max_tokens_at(step),
        )
        groups = assign_advantages([one.group for one in taken], scale=advantage_scale)
        return OpenBatch(plan=plan, rollouts=_batch(taken, groups), counts=self._take_counts())

    async def cancel(self) -> None:
        """Cancel what is under way."""
        works = [wave.work for wave in self._waves]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    # What is begun

    def _room(self) -> int:
        """Return how many tasks may be started now."""
        rollout = self._config.rollout
        num_groups = self._config.steps_in_batch(self._step) * rollout.tasks_per_step
        if rollout.max_staleness == 0:
            return 0 if self._waves else num_groups - len(self._complete)
        steps_left = self._config.total_steps - self._step
        limit = (rollout.max_staleness + 1) * rollout.num_minibatches
        return min(limit, steps_left) * rollout.tasks_per_step - self._num_held()

    def _num_held(self) -> int:
        return len(self._complete) + sum(len(wave.tasks) for wave in self._waves)

    def _due(self) -> int:
        """Return the first step of the batch in which the next task would be trained in turn."""
        num_minibatches = self._config.rollout.num_minibatches
        num_batches = self._num_held() // (num_minibatches * self._config.rollout.tasks_per_step)
        return self._step + num_batches * num_minibatches

    def _begin(self, tasks: Sequence[DealtTask], policy_version: int, *, max_tokens: int) -> _Wave:
        rollout = self._config.rollout
        sampling = SamplingSpec(
            temperature=rollout.temperature,
            max_tokens=max_tokens,
            stop=tuple(rollout.stop),
            stop_token_ids=self._stop_token_ids,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
        )
        work = self._collector.collect(
            [one.task for one in tasks],
            group_size=rollout.group_size,
            sampling=sampling,
            policy_version=policy_version,
            seed_parts=("train", tasks[0].position),
        )
        return _Wave(step=self._step, tasks=tasks, work=asyncio.create_task(work))

    # What is complete

    def _sort_out(self) -> None:
        """Move what is finished to the complete groups; drop what may not be trained."""
        finished = [wave for wave in self._waves if wave.work.done()]
        self._waves = [wave for wave in self._waves if not wave.work.done()]
        for wave in finished:
            for one in _groups_of(wave):
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
        return any(wave.step <= self._step - self._max_age for wave in self._waves)

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
        rollout = self._config.rollout
        num_groups = self._config.steps_in_batch(self._step) * rollout.tasks_per_step
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
            under_way=sum(len(wave.tasks) for wave in self._waves),
        )
        self._num_stale = 0
        self._left_out.clear()
        return counts


def _groups_of(wave: _Wave) -> Iterator[_Complete]:
    rollouts = wave.work.result()
    for dealt, group in zip(wave.tasks, rollouts.groups, strict=True):
        yield _Complete(
            step=wave.step,
            position=dealt.position,
            group=group,
            generate_s=rollouts.generate_s,
            grade_s=rollouts.grade_s,
        )


def _batch(taken: Sequence[_Complete], groups: Sequence[Group]) -> RolloutBatch:
    return RolloutBatch(
        groups=tuple(groups),
        generate_s=max(one.generate_s for one in taken),
        grade_s=max(one.grade_s for one in taken),
        num_tokens=sum(len(r.completion.token_ids) for group in groups for r in group.rollouts),
    )
