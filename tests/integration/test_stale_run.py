"""A run with max_staleness 1 and two engines, one of which is killed, and then the other hangs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from actor_groups import tiny_recipe
from whole_runs import Run, assert_nothing_is_left, rollouts, running, shared_memory, train_lines

NUM_STEPS = 12
KILLED_AFTER, HUNG_AFTER = 3, 6  # steps
TRUNCATED = {"temperature": 1.0, "top_p": 0.8, "top_k": 40}


@pytest.fixture(scope="module")
def ended(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One engine is killed, the other stopped for ever; the run goes on to its end."""
    folder = tmp_path_factory.mktemp("stale")
    recipe = tiny_recipe(
        tiny_model,
        folder,
        num_steps=NUM_STEPS,
        rewards={"odd_rewards:slow_letters": 1.0},
        rollout={"max_staleness": 1, "num_engines": 2, **TRUNCATED},
        eval={"tasks": None, "correct_by": None},
        resources={"engine_deadline_s": 10.0},
    )
    before = shared_memory()
    with running(recipe, folder) as run:
        run.wait_for_step(KILLED_AFTER)
        os.kill(_engine(run, 1), signal.SIGKILL)
        run.wait_for_step(HUNG_AFTER)
        os.kill(_engine(run, 0), signal.SIGSTOP)
        run.wait()
        assert_nothing_is_left(run, before)
    return run


def _engine(run: Run, i: int) -> int:
    """The process that writes the i-th engine's log."""
    log = str(run.folder / "logs" / f"engine_{i}.log")
    (pid,) = [pid for pid in run.tree if psutil.pid_exists(pid) and _output(pid) == log]
    return pid


def _output(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""


def test_a_run_survives_the_death_of_an_engine_and_one_that_hangs(ended: Run) -> None:
    assert ended.process.returncode == 0, ended.error_lines
    assert [line["step"] for line in train_lines(ended.folder)] == [*range(1, NUM_STEPS + 1)]
    driver = (ended.folder / "logs" / "driver.log").read_text(encoding="utf-8")
    assert "engine_1 died in " in driver and "engine_1 is started again" in driver
    assert "engine_0 did not finish " in driver
    assert "engine_1 died in " in ended.output


def test_each_task_is_trained_exactly_once(ended: Run) -> None:
    by_step = rollouts(ended.folder)
    trained = [(row["task_id"], row["sample_index"]) for rows in by_step.values() for row in rows]
    assert len(trained) == len(set(trained))
    positions = {int(task_id.rsplit("/", 1)[1]) for task_id, _ in trained}
    assert positions == set(range(len(positions)))  # those that an undisturbed run trains


def test_each_token_is_at_most_one_version_old(ended: Run) -> None:
    staleness = [line["policy/staleness"] for line in train_lines(ended.folder)]
    assert staleness[0] == 0 and max(staleness) == 1
    for step, rows in rollouts(ended.folder).items():
        for row in rows:
            first, last = row["policy_version"], row["last_policy_version"]
            assert max(0, step - 2) <= first <= last <= step - 1


def test_log_probs_of_truncated_sampling_are_those_of_the_whole_distribution(ended: Run) -> None:
    first = train_lines(ended.folder)[0]
    # log-probs of what top_p leaves would differ by up to -log(0.8) from the learner's
    assert first["policy/mismatch_kl"] < 1e-6
    assert first["policy/max_ratio_error"] < 1e-3


def test_stale_completions_are_corrected_by_ratios_that_are_not_1(ended: Run) -> None:
    lines = [line for line in train_lines(ended.folder)[2:] if line["policy/old_tokens_frac"] > 0]
    assert lines
    assert min(line["policy/max_ratio_error"] for line in lines) > 1e-3
