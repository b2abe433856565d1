"""The trainer's loop in virtual time: engines and learner by `max_staleness`."""

from __future__ import annotations

import pytest

from bench.simulated_engine import EngineTimes, LocalActor, SimulatedEngine
from bench.simulated_run import Cluster, Usage, measure
from bench.virtual_time import run_in_virtual_time

CLUSTER = Cluster(
    name="small",
    num_engines=2,
    times=EngineTimes(slots=16, token_s=0.02, mean_tokens=50, max_tokens=200, load_s=0.05),
    learn_s=1.7,
    tasks_per_step=16,
    group_size=4,
)


async def _usage(max_staleness: int) -> Usage:
    engines = [SimulatedEngine(CLUSTER.times) for _ in range(CLUSTER.num_engines)]
    actors = [LocalActor(f"engine_{i}", engine) for i, engine in enumerate(engines)]
    return await measure(CLUSTER, actors, max_staleness=max_staleness, num_steps=10)


@pytest.fixture(scope="module")
def usages() -> dict[int, Usage]:
    return {k: run_in_virtual_time(_usage(k)) for k in (0, 1, 2, 4)}


def test_engines_are_busy_while_the_learner_works(usages: dict[int, Usage]) -> None:
    assert usages[0].engine_idle_frac > 0.2
    assert max(usages[k].engine_idle_frac for k in (1, 2, 4)) < 0.05


def test_a_step_takes_little_more_than_its_work(usages: dict[int, Usage]) -> None:
    assert usages[0].step_s / usages[2].step_s > 1.8
    assert usages[1].step_s > usages[2].step_s > usages[4].step_s
    times = CLUSTER.times
    work_s = 16 * 4 * 46 * times.token_s / (2 * times.slots) + times.load_s  # 46: the cut mean
    assert usages[4].step_s < 1.25 * work_s


def test_tokens_are_as_old_as_allowed_and_no_older(usages: dict[int, Usage]) -> None:
    assert usages[0].staleness == 0
    assert all(0 < usages[k].staleness <= k for k in (1, 2, 4))
