"""From tasks to graded groups: what overlaps, what comes once, and where seeds come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, written
from fakes import SAMPLING, FakeEncoder, FakeEngines, FakeGraders

from rlvr.errors import ActorDied, CheckError
from rlvr.grpo.rollouts import Engines, Graders, RolloutBatch, RolloutCollector
from rlvr.rollout.engine_pool import EnginePool
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec
from rlvr.types import RewardResult, Task, Ungraded

TASKS = [Task(id=f"n/{i}", prompt=f"{i}?", columns={"answer": str(i)}) for i in range(5)]


def collect(engines: Engines, graders: Graders, *, group_size: int = 3) -> RolloutBatch:
    collector = RolloutCollector(engines=engines, graders=graders, encoder=FakeEncoder(), seed=7)
    work = collector.collect(
        TASKS,
        group_size=group_size,
        sampling=SAMPLING,
        policy_version=0,
        seed_parts=("train", 0),
    )
    return asyncio.run(asyncio.wait_for(work, 20))


@dataclass(slots=True)
class WaitingEngines:
    """Writes the last completion only when the others are graded."""

    graded: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        finished = [written(request) for request in requests]
        yield finished[:-1]
        await self.graded.wait()
        yield finished[-1:]


@dataclass(slots=True)
class TellingGraders:
    """Sets an event with the first grades; a text is worth its number."""

    graded: asyncio.Event
    texts: list[str] = field(default_factory=list)
    columns: list[Mapping[str, Any]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    num_ids: list[int] = field(default_factory=list)

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        assert ungraded.prompts is not None and ungraded.completion_ids is not None
        self.texts += ungraded.texts
        self.columns += ungraded.columns
        self.prompts += ungraded.prompts
        self.num_ids += [len(ids) for ids in ungraded.completion_ids]
        self.graded.set()
        return [RewardResult(value=float(text), grades={}) for text in ungraded.texts]


def test_rewards_start_before_the_last_completion_is_written() -> None:
    engines = WaitingEngines()
    found = collect(engines, TellingGraders(engines.graded))  # else it would wait for ever
    assert len(found.groups) == 5


def test_each_completion_comes_to_its_place_with_its_own_grade_and_columns() -> None:
    engines = WaitingEngines()
    graders = TellingGraders(engines.graded)
    found = collect(engines, graders)
    assert [group.task.id for group in found.groups] == [task.id for task in TASKS]
    texts = [[r.completion.text for r in group.rollouts] for group in found.groups]
    assert texts == [[f"{i}.{k}" for k in range(3)] for i in range(5)]
    values = [[r.reward.value for r in group.rollouts] for group in found.groups]
    assert values == [[float(f"{i}.{k}") for k in range(3)] for i in range(5)]
    assert sorted(graders.texts) == sorted(text for group in texts for text in group)
    assert [c["answer"] for c in graders.columns] == [text[0] for text in graders.texts]
    assert graders.prompts == [f"User: {text[0]}?" for text in graders.texts]
    assert graders.num_ids == [3] * 15
    assert found.num_tokens == 5 * 3 * 3
    assert found.generate_s >= 0 and found.grade_s >= 0


def pooled(*engines: FakeEngine) -> EnginePool:
    return EnginePool(list(engines), deadline_s=20)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_engines", [1, 2, 3, 7])
def test_seeds_and_results_do_not_hang_on_the_number_of_engines(num_engines: int) -> None:
    alone = FakeEngine("engine 0")
    several = [FakeEngine(f"engine {i}") for i in range(num_engines)]
    graders = [TellingGraders(asyncio.Event()) for _ in range(2)]
    expected = collect(pooled(alone), graders[0])
    found = collect(pooled(*several), graders[1])
    dealt = [request for engine in several for request in engine.requests]
    assert seeds_of(dealt) == seeds_of(alone.requests)
    assert len(dealt) == len(seeds_of(dealt)) == 15  # each once
    assert len(set(seeds_of(dealt).values())) == 15
    assert sorted(graders[1].texts) == sorted(graders[0].texts)
    assert [g.task.id for g in found.groups] == [g.task.id for g in expected.groups]


def seeds_of(requests: Sequence[Request]) -> dict[tuple[int, int], int]:
    return {(r.task_index, r.sample_index): r.seed for r in requests}


def test_a_dead_grader_ends_the_rollout_batch_and_the_writing() -> None:
    engines = FakeEngines(version=0, holds={0: asyncio.Event()})  # would write for ever
    with pytest.raises(ActorDied, match="reward worker 0"):
        collect(engines, FakeGraders(failure=ActorDied("reward worker 0 died in grade")))
    assert engines.num_running == 0


def test_a_completion_that_never_comes_back_is_noticed() -> None:
    class Losing:
        async def generate(
            self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
        ) -> AsyncIterator[list[Finished]]:
            yield [written(request) for request in requests[1:]]

    with pytest.raises(AssertionError, match="14 of 15 rollouts"):
        collect(Losing(), TellingGraders(asyncio.Event()))


def test_a_completion_under_another_policy_version_than_asked_for_stops_the_run() -> None:
    """Such a label would make it stale, and turn the mismatch check off."""

    class Mislabeling:
        async def generate(
            self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
        ) -> AsyncIterator[list[Finished]]:
            for request in requests:
                item = written(request)
                version = policy_version + 1
                versions = np.full_like(item.completion.policy_versions, version)
                yield [replace(item, completion=replace(item.completion, policy_versions=versions))]

    with pytest.raises(CheckError, match="under policy version 1 where 0 was asked for"):
        collect(Mislabeling(), TellingGraders(asyncio.Event()))
