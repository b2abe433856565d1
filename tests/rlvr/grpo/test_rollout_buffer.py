"""The buffer: which groups are under way, which form a batch, and which are not trained."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import completion_of, config_of, rollout_of
from loop_runs import numbered

from rlvr.data.tasks import TaskStream
from rlvr.errors import CheckError
from rlvr.grpo.open_batch import OpenBatch
from rlvr.grpo.rollout_buffer import RolloutBuffer
from rlvr.grpo.rollouts import RolloutBatch
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.types import Group, Ledger, Rollout, Task

DEADLINE_S = 20


@dataclass(slots=True)
class FakeCollector:
    """Ends a call when it is told to; `accuracies` are those of a task's two completions."""

    accuracies: dict[str, tuple[float, float]] = field(default_factory=dict)
    newest_version: dict[str, int] = field(default_factory=dict)  # of a task's last token
    calls: list[list[str]] = field(default_factory=list)
    seeds: list[Sequence[int | str]] = field(default_factory=list)
    max_tokens: list[int] = field(default_factory=list)
    under_way: dict[str, asyncio.Event] = field(default_factory=dict)
    on_room: Callable[[], None] | None = None
    places: int = 0  # of the engines

    def room(self) -> int:
        return self.places - 2 * len(self.under_way)

    def take_idle_s(self) -> float:
        return 0.0

    async def collect(
        self,
        tasks: Sequence[Task],
        *,
        group_size: int,
        sampling: SamplingSpec,
        policy_version: int,
        seed_parts: Sequence[int | str],
    ) -> RolloutBatch:
        self.calls.append([task.id for task in tasks])
        self.seeds.append(seed_parts)
        self.max_tokens.append(sampling.max_tokens)
        for task in tasks:
            self.under_way[task.id] = asyncio.Event()
        for task in tasks:
            await self.under_way[task.id].wait()
        groups = tuple(self._group(task, policy_version) for task in tasks)
        return RolloutBatch(groups=groups, generate_s=1.0, grade_s=0.5, num_tokens=6)

    def _group(self, task: Task, version: int) -> Group:
        del self.under_way[task.id]
        return Group(
            task=task,
            prompt_token_ids=np.array([7], np.int32),
            rollouts=tuple(
                self._rollout(task, value, version)
                for value in self.accuracies.get(task.id, (0.0, 1.0))
            ),
        )

    def _rollout(self, task: Task, value: float, version: int) -> Rollout:
        completion = completion_of(policy_version=version)
        completion.policy_versions[-1] = self.newest_version.get(task.id, version)
        return replace(rollout_of(value), completion=completion)

    async def finish(self, *indices: int) -> None:
        """End the groups of these tasks, in this order."""
        for i in indices:
            self.under_way[f"t/{i}"].set()
            await settled()
            if self.on_room is not None:
                self.on_room()
            await settled()

    async def finish_all(self) -> None:
        for event in list(self.under_way.values()):
            event.set()
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def buffer_of(
    collector: FakeCollector,
    *,
    engines: FakeCollector | None = None,
    num_tasks: int = 100,
    num_steps: int = 50,
    **sections: Any,
) -> RolloutBuffer:
    rollout = {"tasks_per_step": 2, "group_size": 2, "max_tokens": 16, "max_staleness": 1}
    sections["rollout"] = rollout | sections.get("rollout", {})
    tasks = numbered("t", num_tasks)
    stream = TaskStream(tasks, seed=0)
    stream.at = lambda cursor: tasks.task(cursor % num_tasks)  # type: ignore[method-assign]
    return RolloutBuffer(
        config_of(num_steps=num_steps, **sections),
        collector=collector,  # type: ignore[arg-type]
        tasks=stream,
        stop_token_ids=(2,),
        engines=engines,
    )


async def take(buffer: RolloutBuffer) -> OpenBatch:
    return await asyncio.wait_for(buffer.take(advantage_scale="std"), DEADLINE_S)


def names(batch: OpenBatch) -> list[int]:
    return [int(group.task.id[2:]) for group in batch.rollouts.groups]


def under_way(collector: FakeCollector) -> list[int]:
    return sorted(int(name[2:]) for name in collector.under_way)


async def started(buffer: RolloutBuffer, *, policy_version: int = 0) -> None:
    buffer.fill(policy_version=policy_version)
    await settled()


def test_on_policy_a_batch_is_one_call_with_the_weights_of_its_step() -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector, rollout={"max_staleness": 0})
        for step in range(3):
            await started(buffer, policy_version=step)
            assert collector.calls[step:] == [[f"t/{2 * step}", f"t/{2 * step + 1}"]]
            taking = asyncio.create_task(take(buffer))
            await settled()
            await collector.finish_all()
            batch = await taking
            assert batch.plan.ledger == Ledger(cursor=2 * step + 2)
        assert collector.seeds == [("train", 0), ("train", 2), ("train", 4)]

    asyncio.run(work())


@pytest.mark.parametrize("max_staleness", [1, 2, 4])
def test_groups_flow_one_by_one_up_to_the_limit(max_staleness: int) -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector, rollout={"max_staleness": max_staleness})
        await started(buffer)
        assert under_way(collector) == list(range(2 * (max_staleness + 1)))
        assert all(len(call) == 1 for call in collector.calls)
        assert collector.seeds[3] == ("train", 3)
        await collector.finish(0, 1)
        await take(buffer)
        await settled()
        assert len(collector.calls) == 2 * (max_staleness + 1)  # more only after the sync
        await started(buffer, policy_version=1)
        assert len(collector.calls) == 2 * (max_staleness + 2)

    asyncio.run(work())


def test_engines_are_kept_full_and_nothing_waits_for_them() -> None:
    async def work() -> None:
        collector = FakeCollector(places=6)
        full = {"max_staleness": 4, "num_engines": 2}
        buffer = buffer_of(collector, engines=collector, rollout=full)
        await started(buffer)
        assert under_way(collector) == [0, 1, 2, 3, 4]  # 3 groups of 2 fill 6 places; one each more
        await collector.finish(2)
        assert under_way(collector) == [0, 1, 3, 4, 5]  # without a call of the loop
        await collector.finish(0, 1)
        await take(buffer)
        await collector.finish(3)
        assert under_way(collector) == [4, 5, 6, 7, 8]
        await buffer.cancel()
        assert collector.on_room is None

    asyncio.run(work())


def test_a_batch_is_of_complete_groups_and_no_completion_waits_for_a_batch() -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector, rollout={"max_staleness": 2})
        await started(buffer)
        await collector.finish(4, 1, 3)  # 0 and 2 are long
        batch = await take(buffer)
        assert names(batch) == [1, 3]  # the oldest, in the order of the tasks
        assert batch.plan.ledger == Ledger(cursor=6, open=(0, 2, 4, 5))
        assert (batch.counts.waiting, batch.counts.under_way) == (1, 3)
        await started(buffer, policy_version=1)
        await collector.finish(5)
        assert names(await take(buffer)) == [4, 5]

    asyncio.run(work())


def test_a_batch_waits_for_groups_that_would_be_too_old_for_the_next() -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector, rollout={"max_staleness": 1})
        await started(buffer)
        await collector.finish(1, 2)
        assert names(await take(buffer)) == [1, 2]
        await started(buffer, policy_version=1)
        taking = asyncio.create_task(take(buffer))
        await settled()
        await collector.finish(4, 5, 3)
        assert not taking.done()  # 0 was begun under version 0: this is its last batch
        await collector.finish(0)
        batch = await taking
        assert names(batch) == [0, 3]
        ages = [1 - g.rollouts[0].completion.policy_versions.min() for g in batch.rollouts.groups]
        assert ages == [1, 1] and batch.counts.stale == 0

    asyncio.run(work())


def test_no_more_tasks_are_dealt_than_the_run_trains() -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector, num_steps=3, rollout={"max_staleness": 4})
        for step in range(3):
            await started(buffer, policy_version=step)
            await collector.finish_all()
            batch = await take(buffer)
        assert sorted(int(name[2:]) for [name] in collector.calls) == list(range(6))
        assert batch.plan.ledger == Ledger(cursor=6)

    asyncio.run(work())


def test_a_resumed_buffer_begins_with_the_open_tasks() -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector)
        buffer.seek(step=3, ledger=Ledger(cursor=9, open=(2, 7)))
        await started(buffer, policy_version=3)
        assert under_way(collector) == [2, 7, 9, 10]

    asyncio.run(work())


def test_a_group_that_is_too_old_is_dropped_counted_and_put_back() -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector, rollout={"max_staleness": 1, "tasks_per_step": 1})
        await started(buffer)
        await collector.finish(0, 1)
        await take(buffer)
        buffer.seek(step=2, ledger=Ledger(cursor=2))  # as if a step had been skipped
        await started(buffer, policy_version=2)
        taking = asyncio.create_task(take(buffer))
        await settled()
        assert collector.calls[2:] == [["t/2"], ["t/1"]]
        await collector.finish_all()
        batch = await taking
        assert (names(batch), batch.counts.stale) == ([1], 1)

    asyncio.run(work())


def test_a_token_of_a_version_that_the_learner_does_not_have_ends_the_run() -> None:
    async def work() -> None:
        collector = FakeCollector(newest_version={"t/1": 1})
        buffer = buffer_of(collector)
        await started(buffer)
        await collector.finish_all()
        with pytest.raises(
            CheckError, match="task t/1 has policy version 1, and the learner is at 0"
        ):
            await take(buffer)

    asyncio.run(work())


EQUAL = {f"t/{i}": (1.0, 1.0) for i in (0, 3)} | {"t/4": (0.0, 0.0)}


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_groups_that_are_equally_right_are_replaced_by_others(max_staleness: int) -> None:
    async def work() -> None:
        collector = FakeCollector(accuracies=EQUAL)
        rollout = {"max_staleness": max_staleness, "dynamic_sampling": True}
        buffer = buffer_of(collector, rollout=rollout)
        found = []
        for step in range(2):
            buffer.fill(policy_version=step)
            taking = asyncio.create_task(take(buffer))
            while not taking.done():
                await settled()
                await collector.finish_all()
            found.append(taking.result())
        assert [names(batch) for batch in found] == [[1, 2], [5, 6]]
        assert sum(batch.counts.no_signal for batch in found) == 3
        ledger = found[-1].plan.ledger
        assert not set(ledger.open) & {0, 3, 4}  # they are not generated again
        assert [r.advantage for r in found[0].rollouts.groups[0].rollouts] != [0, 0]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("loss", "given", "expected"),
    [("dapo", None, True), ("grpo", None, False), ("grpo", True, True), ("dapo", False, False)],
)
def test_dapo_samples_dynamically(loss: str, given: bool | None, expected: bool) -> None:
    config = config_of(loss={"name": loss}, rollout={"dynamic_sampling": given})
    assert config.filters_groups is expected


def test_what_counts_is_the_accuracy_and_not_the_sum_of_all_rewards() -> None:
    async def work() -> None:
        collector = FakeCollector()
        buffer = buffer_of(collector, rollout={"dynamic_sampling": True})
        await started(buffer)
        group = collector._group(Task(id="t/0", prompt=""), 0)
        differing = replace(
            group,
            rollouts=(
                rollout_of(1.5, accuracy=1.0, think_format=0.5),
                rollout_of(1.0, accuracy=1.0, think_format=0.0),
            ),
        )
        assert not buffer._has_signal(differing)
        assert buffer._has_signal(group)
        await buffer.cancel()

    asyncio.run(work())


def test_too_many_tasks_without_signal_end_the_run_and_are_named() -> None:
    async def work() -> None:
        collector = FakeCollector(accuracies={f"t/{i}": (0.0, 0.0) for i in range(100)})
        rollout = {"dynamic_sampling": True, "max_oversampling": 3}
        buffer = buffer_of(collector, rollout=rollout)
        buffer.fill(policy_version=0)
        taking = asyncio.create_task(take(buffer))
        while not taking.done():
            await settled()
            await collector.finish_all()
        with pytest.raises(CheckError, match=r"groups were left out .* batch of 2 .* t/0, t/1"):
            await taking
        assert sum(map(len, collector.calls)) <= 12

    asyncio.run(work())


def test_solved_tasks_are_drawn_less_often_and_a_resumed_run_knows_them(tmp_path: Path) -> None:
    async def work() -> None:
        accuracies = {f"t/{i}": (1.0, 1.0) for i in range(0, 40, 2)}  # the others are half right
        section = {"low": 0.1, "high": 0.9, "outside_frac": 0.25}
        collector = FakeCollector(accuracies=accuracies)
        options = {"num_tasks": 40, "rollout": {"difficulty": section, "tasks_per_step": 4}}
        buffer = buffer_of(collector, **options)
        drawn: list[int] = []
        for step in range(10):  # the first epoch
            await started(buffer, policy_version=step)
            await collector.finish_all()
            drawn += names(await take(buffer))
        assert sorted(drawn) == list(range(40))
        buffer.save(tmp_path)
        resumed = buffer_of(FakeCollector(accuracies=accuracies), **options)
        resumed.load(tmp_path)
        resumed.seek(step=0, ledger=Ledger(cursor=40))
        dealt = resumed._dealer.deal(25)
        solved = [one.position for one in dealt if one.position % 2 == 0]
        assert 2 <= len(solved) <= 9  # a quarter of 20, where 12 were drawn without the section
        assert len({one.position for one in dealt}) == 25

    asyncio.run(work())


def test_limits_of_completions_are_those_of_the_step_at_which_they_are_due() -> None:
    async def work() -> None:
        collector = FakeCollector()
        longer = {"max_tokens_from": {1: 32, 2: 64}, "max_staleness": 2}
        buffer = buffer_of(collector, rollout=longer)
        await started(buffer)
        assert collector.max_tokens == [16, 16, 32, 32, 64, 64]

    asyncio.run(work())
