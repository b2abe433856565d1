"""The pool: which engine generates what, and what becomes of the jobs of an engine that dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine
from fakes import SAMPLING

from rlvr.errors import ActorDied, CheckError
from rlvr.rollout.engine_pool import EnginePool, EngineRestarts
from rlvr.rollout.engine_requests import Finished, Request

DEADLINE_S = 20
PROMPT = np.array([7, 8], np.int32)


def requests_of(num_tasks: int, *, group_size: int = 3) -> list[Request]:
    return [
        Request(task_index=i, sample_index=k, prompt_token_ids=PROMPT, seed=100 * i + k)
        for i in range(num_tasks)
        for k in range(group_size)
    ]


def pooled(*engines: FakeEngine, deadline_s: float = DEADLINE_S, **options: Any) -> EnginePool:
    return EnginePool(list(engines), deadline_s=deadline_s, **options)  # type: ignore[arg-type]


async def generated(
    pool: EnginePool, requests: Sequence[Request], *, policy_version: int = 0
) -> list[Finished]:
    chunks = pool.generate(requests, SAMPLING, policy_version=policy_version)
    return [item async for chunk in chunks for item in chunk]


def run(work: Awaitable[Any]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(work, DEADLINE_S)

    return asyncio.run(limited())


def places(items: Sequence[Finished] | Sequence[Request]) -> list[tuple[int, int]]:
    return sorted((item.task_index, item.sample_index) for item in items)


def restarts_of(
    *engines: FakeEngine, max_restarts: int = 3
) -> tuple[EngineRestarts, list[tuple[int, FakeEngine]]]:
    """Starts these engines in turn; the list has the index of each that was started."""
    started: list[tuple[int, FakeEngine]] = []

    async def start(i: int) -> Any:
        await asyncio.sleep(0.01)
        started.append((i, engines[len(started)]))
        return started[-1][1]

    return EngineRestarts(start=start, max_restarts=max_restarts), started


@pytest.mark.parametrize("num_engines", [1, 2, 3, 7])
@pytest.mark.parametrize("max_concurrent", [None, 3, 100])
def test_each_completion_is_generated_once_and_a_group_by_one_engine(
    num_engines: int, max_concurrent: int | None
) -> None:
    engines = [FakeEngine(f"engine_{i}") for i in range(num_engines)]
    found = run(generated(pooled(*engines, max_concurrent=max_concurrent), requests_of(9)))
    assert places(found) == places(requests_of(9))
    of_task = [{r.task_index for r in engine.requests} for engine in engines]
    assert sum(map(len, of_task)) == 9


def test_dealt_jobs_go_to_the_engines_in_turn() -> None:
    engines = [FakeEngine(f"engine_{i}") for i in range(3)]
    run(generated(pooled(*engines), requests_of(7)))
    of_task = [sorted({r.task_index for r in engine.requests}) for engine in engines]
    assert of_task == [[0, 3, 6], [1, 4], [2, 5]]


def test_an_engine_gets_no_more_than_it_can_generate_at_a_time() -> None:
    engines = [FakeEngine(f"engine_{i}") for i in range(2)]
    run(generated(pooled(*engines, max_concurrent=7), requests_of(20)))
    assert [engine.largest_load for engine in engines] == [7, 7]  # two groups, and a last one of 3


def test_a_busy_engine_gets_several_jobs_at_once_when_enough_places_are_free() -> None:
    async def work() -> None:
        engine = FakeEngine("engine_0")
        running = asyncio.create_task(
            generated(pooled(engine, max_concurrent=9, min_free=6), requests_of(9))
        )
        sizes = []
        while not running.done():
            if len(engine.requests) != sum(sizes):
                sizes.append(len(engine.requests) - sum(sizes))
            await asyncio.sleep(0)
        assert sizes[:3] == [9, 6, 6]

    run(work())


def test_a_group_larger_than_the_limit_is_generated_alone() -> None:
    engine = FakeEngine("engine_0")
    found = run(generated(pooled(engine, max_concurrent=2), requests_of(3)))
    assert (len(found), engine.largest_load) == (9, 3)


def test_a_free_engine_takes_what_waits_while_another_is_held_up() -> None:
    async def work() -> None:
        held, free = FakeEngine("engine_0", gate=asyncio.Event()), FakeEngine("engine_1")
        pool = pooled(held, free, max_concurrent=3)
        running = asyncio.create_task(generated(pool, requests_of(8)))
        while free.num_finished < 7 * 3:
            await asyncio.sleep(0)
        assert held.gate is not None
        held.gate.set()
        assert len(await running) == 24
        assert len(held.requests) == 3

    run(work())


@pytest.mark.parametrize("max_concurrent", [None, 3])
@pytest.mark.parametrize("dies_after", [0, 1, 4])
def test_the_unfinished_requests_of_a_dead_engine_are_done_by_others_with_the_same_seeds(
    dies_after: int, max_concurrent: int | None
) -> None:
    dead, other = FakeEngine("engine_0", dies_after=dies_after), FakeEngine("engine_1")
    found = run(generated(pooled(dead, other, max_concurrent=max_concurrent), requests_of(6)))
    assert places(found) == places(requests_of(6))  # each once
    seeds = {(r.task_index, r.sample_index): r.seed for r in (*dead.requests, *other.requests)}
    assert seeds == {(r.task_index, r.sample_index): r.seed for r in requests_of(6)}
    assert dead.num_finished == dies_after


def test_a_restarted_engine_serves_only_after_it_is_prepared() -> None:
    fresh, prepared = FakeEngine("engine_0", version=5), asyncio.Event()
    restarts, started = restarts_of(fresh)
    pool = pooled(FakeEngine("engine_0", dies_after=2), restarts=restarts)

    async def prepare(actor: Any) -> None:
        assert actor is fresh and not fresh.requests
        prepared.set()

    pool.prepare = prepare
    found = run(generated(pool, requests_of(2)))
    assert places(found) == places(requests_of(2))
    assert prepared.is_set() and len(fresh.requests) == 4
    assert [(i, engine.name) for i, engine in started] == [(0, "engine_0")]
    assert pool.num_restarts == 1


def test_an_engine_without_a_decode_step_is_killed_and_replaced() -> None:
    hung, fresh = FakeEngine("engine_0", hangs_after=1), FakeEngine("engine_0")
    restarts, _ = restarts_of(fresh)
    found = run(generated(pooled(hung, deadline_s=0.05, restarts=restarts), requests_of(2)))
    assert places(found) == places(requests_of(2))
    assert hung.is_killed and not fresh.is_killed
    assert (hung.num_late, fresh.num_late) == (1, 0)


def test_the_last_engines_death_ends_the_call_under_its_name() -> None:
    dead = [FakeEngine("engine_0", dies_after=1) for _ in range(3)]
    restarts, started = restarts_of(*dead[1:], max_restarts=2)
    pool = pooled(dead[0], restarts=restarts)
    with pytest.raises(ActorDied, match=r"engine_0 died in poll; its log: engine\.log"):
        run(generated(pool, requests_of(2)))
    assert len(started) == 2
    with pytest.raises(ActorDied, match="engine_0 died"):
        run(generated(pool, requests_of(1)))


def test_an_engine_that_cannot_be_started_again_ends_the_call_when_none_is_left() -> None:
    async def start(i: int) -> Any:
        raise ActorDied("engine_0 did not finish ready within 900 s; its log: engine.log")

    restarts = EngineRestarts(start=start, max_restarts=2)
    pool = pooled(FakeEngine("engine_0", dies_after=0), restarts=restarts)
    with pytest.raises(ActorDied, match="did not finish ready"):
        run(generated(pool, requests_of(1)))


def test_weights_that_fail_their_check_on_a_restarted_engine_end_the_call() -> None:
    restarts, _ = restarts_of(FakeEngine("engine_0"))
    pool = pooled(FakeEngine("engine_0", dies_after=0), restarts=restarts)

    async def prepare(actor: Any) -> None:
        raise CheckError("they do not hold the same weights")

    pool.prepare = prepare
    with pytest.raises(CheckError, match="the same weights"):
        run(generated(pool, requests_of(1)))


def test_an_engine_with_older_weights_than_asked_for_ends_the_call() -> None:
    with pytest.raises(CheckError, match="engine holds 0"):
        run(generated(pooled(FakeEngine("engine_0")), requests_of(2), policy_version=1))


def test_jobs_of_an_abandoned_call_are_aborted() -> None:
    async def work() -> None:
        engine = FakeEngine("engine_0")
        pool = pooled(engine, max_concurrent=3)
        chunks = pool.generate(requests_of(3), SAMPLING, policy_version=0)
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        assert engine.aborted == ["0"]  # the other two were never given to it
        assert len(await generated(pool, requests_of(2))) == 6

    run(work())


@pytest.mark.parametrize("dies", [False, True])
def test_weights_reach_every_engine_that_lives(dies: bool) -> None:
    engines = [FakeEngine("engine_0"), FakeEngine("engine_1", is_killed=dies)]
    restarts, started = restarts_of(FakeEngine("engine_1"))

    async def work() -> None:
        pool = pooled(*engines, restarts=restarts)
        await pool.load_weights("v1", is_restart=True)
        assert engines[0].loaded == [("v1", True)]
        await asyncio.sleep(0.05)
        assert len(await pool.probe(PROMPT)) == 2
        assert len(started) == dies

    run(work())


def test_a_sync_waits_for_an_engine_where_none_is_up() -> None:
    fresh = FakeEngine("engine_0")
    restarts, _ = restarts_of(fresh)
    run(pooled(FakeEngine("engine_0", is_killed=True), restarts=restarts).load_weights("v1"))
    assert fresh.loaded == [("v1", False)]


def test_idle_time_is_that_without_a_job() -> None:
    async def work() -> None:
        engine = FakeEngine("engine_0", gate=asyncio.Event())
        pool = pooled(engine)
        await asyncio.sleep(0.1)
        assert 0.05 < pool.take_idle_s() < 1
        running = asyncio.create_task(generated(pool, requests_of(1)))
        await asyncio.sleep(0.1)
        assert pool.take_idle_s() < 0.05
        assert pool.describe()[0].startswith("engine_0: up, 1 jobs, 3 completions under way")
        assert engine.gate is not None
        engine.gate.set()
        await running

    run(work())
