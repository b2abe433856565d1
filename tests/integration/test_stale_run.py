"""A run with max_staleness 1 and two engines, one of which is killed in the middle."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from actor_groups import tiny_recipe
from whole_runs import Run, assert_nothing_is_left, rollouts, running, shared_memory, train_lines

MANY = 500
TRUNCATED = {"temperature": 1.0, "top_p": 0.8, "top_k": 40}


@dataclass(slots=True, kw_only=True)
class Ended:
    """A run whose engine was killed."""

    run: Run
    ended_after_s: float


@pytest.fixture(scope="module")
def ended(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Killed once step 5 was done."""
    folder = tmp_path_factory.mktemp("stale")
    recipe = tiny_recipe(
        tiny_model,
        folder,
        num_steps=MANY,
        rewards={"odd_rewards:slow_letters": 1.0},
        rollout={"max_staleness": 1, "num_engines": 2, **TRUNCATED},
        eval={"tasks": None, "correct_by": None},
    )
    before = shared_memory()
    with running(recipe, folder) as run:
        run.wait_for_step(5)
        os.kill(_engine(run), signal.SIGKILL)
        killed_at = time.monotonic()
        run.wait(60)
        ended_after_s = time.monotonic() - killed_at
        assert_nothing_is_left(run, before)
    return Ended(run=run, ended_after_s=ended_after_s)


def _engine(run: Run) -> int:
    """The process that writes engine_1's log."""
    log = str(run.folder / "logs" / "engine_1.log")
    (pid,) = [pid for pid in run.tree if psutil.pid_exists(pid) and _output(pid) == log]
    return pid


def _output(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""


def test_a_killed_engine_ends_the_run_with_one_line_that_names_it_and_its_log(ended: Ended) -> None:
    assert ended.run.process.returncode == 1
    (line,) = ended.run.error_lines
    log = ended.run.folder / "logs" / "engine_1.log"
    assert line.startswith("rlvr: engine_1 died in ") and line.endswith(f"its log: {log}")
    assert ended.ended_after_s < 30


def test_from_step_2_on_completions_are_one_version_behind(ended: Ended) -> None:
    staleness = {line["step"]: line["policy/staleness"] for line in train_lines(ended.run.folder)}
    assert staleness == {step: min(1, step - 1) for step in range(1, len(staleness) + 1)}
    assert len(staleness) >= 5


def test_each_completion_carries_the_version_that_wrote_it(ended: Ended) -> None:
    by_step = rollouts(ended.run.folder)
    assert len(by_step) >= 4
    for step, rows in by_step.items():
        assert {row["policy_version"] for row in rows} == {max(0, step - 2)}


def test_log_probs_of_truncated_sampling_are_those_of_the_whole_distribution(ended: Ended) -> None:
    first = train_lines(ended.run.folder)[0]
    # log-probs of what top_p leaves would differ by up to -log(0.8) from the learner's
    assert first["policy/mismatch_kl"] < 1e-6
    assert first["policy/max_ratio_error"] < 1e-3


def test_stale_completions_are_corrected_by_ratios_that_are_not_1(ended: Ended) -> None:
    errors = [line["policy/max_ratio_error"] for line in train_lines(ended.run.folder)]
    assert errors[0] < 1e-3 < min(errors[2:])
