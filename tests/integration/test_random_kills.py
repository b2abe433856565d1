"""Any process of a run is killed, again and again: in the end each task is trained once.

RLVR_KILLS sets the number of kills of each run; one by default, since each may cost a new start.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from actor_groups import tiny_recipe
from whole_runs import (
    START_S,
    Run,
    assert_nothing_is_left,
    rollouts,
    running,
    shared_memory,
    train_lines,
)

NUM_KILLS = int(os.environ.get("RLVR_KILLS", "1"))
NUM_STEPS = 8 + 2 * NUM_KILLS
TASKS_PER_STEP, GROUP_SIZE = 4, 4
LOGS = ("engine_0", "engine_1", "learner_0", "rewards_0")  # of the actors
COMMANDS = ("raylet", "gcs_server")  # of Ray
KINDS = (*LOGS, *COMMANDS, "driver")

pytestmark = pytest.mark.timeout(300 + 120 * NUM_KILLS)


@dataclass(slots=True, kw_only=True)
class Killed:
    """A run of which one process after the other was killed."""

    folder: Path
    kinds: Sequence[str]
    num_starts: int


def recipe_of(model: Path, folder: Path, *, max_staleness: int) -> dict[str, Any]:
    return tiny_recipe(
        model,
        folder,
        num_steps=NUM_STEPS,
        rewards={"odd_rewards:slow_letters": 1.0},
        rollout={
            "max_staleness": max_staleness,
            "num_engines": 2,
            "tasks_per_step": TASKS_PER_STEP,
            "group_size": GROUP_SIZE,
        },
        eval={"tasks": None, "correct_by": None},
        checkpoint={"every_steps": 2},
        resources={"max_restarts": 100},
    )


@pytest.fixture(scope="module", params=[0, 2], ids=["on-policy", "continuous"])
def killed(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Killed:
    """The command is started again whenever it ends early."""
    folder = tmp_path_factory.mktemp("kills")
    recipe = recipe_of(tiny_model, folder, max_staleness=request.param)
    rng = random.Random(f"kills/{request.param}/{NUM_KILLS}")
    left = [rng.choice(KINDS) for _ in range(NUM_KILLS)]
    kinds, num_starts, before = list(left), 0, shared_memory()
    while True:
        with running(recipe, folder) as run:
            num_starts += 1
            while left and _survives_until_a_step_is_done(run):
                kill(run, left.pop())
            if run.wait() == 0:
                assert_nothing_is_left(run, before)
                return Killed(folder=run.folder, kinds=kinds, num_starts=num_starts)
            assert num_starts <= NUM_KILLS + 1, run.error_lines
            assert_nothing_is_left(run, before)


def _survives_until_a_step_is_done(run: Run) -> bool:
    """Whether the command trains a step that it has not trained before."""
    seen, until = len(train_lines(run.folder)), time.monotonic() + START_S
    while run.process.poll() is None and len(train_lines(run.folder)) <= seen:
        assert time.monotonic() < until, run.output[-2000:]
        time.sleep(0.05)
    run.look_around()
    return run.process.poll() is None


def kill(run: Run, kind: str) -> None:
    """Kill a process of this kind, if the run has one now."""
    pids = [run.process.pid] if kind == "driver" else _pids(run, kind)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _pids(run: Run, kind: str) -> list[int]:
    found = []
    for pid in run.tree:
        try:
            process = psutil.Process(pid)
            if kind in COMMANDS:
                is_one = process.name() == kind
            else:
                is_one = os.readlink(f"/proc/{pid}/fd/1").endswith(f"/logs/{kind}.log")
        except (psutil.Error, OSError):
            continue
        if is_one:
            found.append(pid)
    return found[:1]


def test_the_ledger_is_that_of_an_undisturbed_run(killed: Killed) -> None:
    by_step = rollouts(killed.folder)
    assert list(by_step) == [*range(1, NUM_STEPS + 1)]
    trained = Counter(
        (int(row["task_id"].rsplit("/", 1)[1]), row["sample_index"])
        for rows in by_step.values()
        for row in rows
    )
    num_tasks = NUM_STEPS * TASKS_PER_STEP
    assert trained == Counter((i, k) for i in range(num_tasks) for k in range(GROUP_SIZE))


def test_no_step_is_missing_or_logged_twice(killed: Killed) -> None:
    assert [line["step"] for line in train_lines(killed.folder)] == [*range(1, NUM_STEPS + 1)]
    assert killed.num_starts <= len(killed.kinds) + 1
