"""One run stopped by SIGTERM, killed, stopped by Ctrl-C and resumed, and an uninterrupted one."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from whole_runs import (
    Run,
    assert_nothing_is_left,
    checkpoint_steps,
    lines,
    rollouts,
    running,
    shared_memory,
    train_lines,
    wait_until,
)

from rlvr.run.run_folder import read_json

NUM_STEPS = 12
NEUTRAL = ("checkpoint.every_steps=3", "rollout.max_concurrent=48")  # they change no result


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One start of the command, and what it left."""

    run: Run
    checkpoints: list[int]
    steps: list[int]  # in metrics.jsonl


@dataclass(slots=True, kw_only=True)
class Chain:
    """The attempts of one run, each inspected right after its end."""

    terminated: Attempt
    alive: str  # command lines while the first attempt ran
    second: Run  # a second command on the folder while the first ran
    killed: Attempt
    interrupted: Attempt
    ended: Attempt
    folder: Path


@pytest.fixture(scope="module")
def chain(uninterrupted_recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Four starts of the same command, the last two with other values of neutral keys."""
    folder = tmp_path_factory.mktemp("interrupted")
    recipe = {**uninterrupted_recipe, "output_dir": str(folder)}
    before = shared_memory()
    with running(recipe, folder) as first:
        wait_until(lambda: _holder(first.folder) == first.process.pid, 60, "lock")
        with running(recipe, folder) as second:
            second.wait(60)
        first.wait_for_step(1)
        alive = "\n".join(first.alive())
        first.process.send_signal(signal.SIGTERM)
        terminated = _ended(first, before)
    with running(recipe, folder) as run:
        run.wait_for_step(terminated.checkpoints[-1] + 2)
        run.process.kill()
        killed = _ended(run, before)
    with running(recipe, folder, *NEUTRAL) as run:
        run.wait_for_step(killed.checkpoints[-1] + 2)
        os.killpg(run.process.pid, signal.SIGINT)  # a terminal sends it to the whole group
        interrupted = _ended(run, before)
    with running(recipe, folder, *NEUTRAL) as run:
        ended = _ended(run, before)
    return Chain(
        terminated=terminated,
        alive=alive,
        second=second,
        killed=killed,
        interrupted=interrupted,
        ended=ended,
        folder=run.folder,
    )


def _holder(folder: Path) -> int:
    lock = folder / ".lock"
    return int(lock.read_text() or 0) if lock.exists() else 0


def _ended(run: Run, files_before: set[str]) -> Attempt:
    """Wait for the end; fails where something is left 15 s after it."""
    run.wait()
    assert_nothing_is_left(run, files_before)
    return Attempt(
        run=run,
        checkpoints=checkpoint_steps(run.folder),
        steps=[line["step"] for line in train_lines(run.folder)],
    )


def test_a_folder_held_by_a_living_run_is_refused(chain: Chain) -> None:
    assert chain.second.process.returncode == 2
    (line,) = chain.second.error_lines
    holder = chain.terminated.run.process.pid
    assert line.startswith(f"rlvr: {chain.folder}: process {holder} is running here; wait for it")


def test_the_search_for_leftover_processes_finds_those_of_a_running_one(chain: Chain) -> None:
    for name in ("raylet", "gcs_server", "VllmEngine", "DeepSpeedLearner", "RewardWorker"):
        assert name in chain.alive


@pytest.mark.parametrize("name", ["terminated", "interrupted"])
def test_a_signal_writes_a_checkpoint_of_the_last_step_and_says_how_to_resume(
    chain: Chain, name: str
) -> None:
    attempt: Attempt = getattr(chain, name)
    step = attempt.steps[-1]
    assert step < NUM_STEPS
    assert attempt.run.process.returncode == 1
    assert attempt.run.error_lines == [
        f"stopped after step {step}, saved in a checkpoint; run the same command to resume"
    ]
    assert attempt.checkpoints[-1] == step


def test_kill_9_leaves_a_run_at_or_ahead_of_its_last_checkpoint(chain: Chain) -> None:
    assert chain.killed.run.process.returncode == -signal.SIGKILL
    assert chain.terminated.steps[-1] < chain.killed.checkpoints[-1] <= chain.killed.steps[-1]
    assert chain.killed.steps[-1] < NUM_STEPS


def test_the_same_command_resumes_each_time(chain: Chain) -> None:
    for attempt in (chain.killed, chain.interrupted, chain.ended):
        assert "resuming from" in attempt.run.output
    assert chain.ended.run.process.returncode == 0


def test_the_final_weights_are_bitwise_those_of_the_uninterrupted_run(
    chain: Chain, uninterrupted: Run
) -> None:
    found = load_file(chain.folder / "model" / "model.safetensors")
    expected = load_file(uninterrupted.folder / "model" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert found[name].numpy().tobytes() == weight.numpy().tobytes(), name


def test_every_task_was_trained_once_with_the_same_completions(
    chain: Chain, uninterrupted: Run
) -> None:
    found, expected = rollouts(chain.folder), rollouts(uninterrupted.folder)
    pairs = [(row["task_id"], row["sample_index"]) for rows in found.values() for row in rows]
    assert len(set(pairs)) == len(pairs) == NUM_STEPS * 16
    assert found == expected


def test_metrics_have_each_step_and_each_evaluation_once(chain: Chain, uninterrupted: Run) -> None:
    steps = train_lines(chain.folder)
    assert [line["step"] for line in steps] == list(range(1, NUM_STEPS + 1))
    for line, expected in zip(steps, train_lines(uninterrupted.folder), strict=True):
        assert line["learner/loss"] == expected["learner/loss"]
    evaluations = [line for line in lines(chain.folder) if "eval/pass_at_1" in line]
    assert [line["step"] for line in evaluations] == [0, NUM_STEPS]


def test_keys_that_were_changed_on_the_way_are_in_the_manifest(chain: Chain) -> None:
    changes = read_json(chain.folder / "manifest.json")["changes"]
    assert [(one["step"], one["key"], one["before"], one["after"]) for one in changes] == [
        (chain.killed.checkpoints[-1], "checkpoint.every_steps", 2, 3),
        (chain.killed.checkpoints[-1], "rollout.max_concurrent", 64, 48),
    ]


def test_a_finished_run_trains_more_steps_at_another_rate(
    chain: Chain, uninterrupted_recipe: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / chain.folder.name
    shutil.copytree(chain.folder, folder)
    recipe = {**uninterrupted_recipe, "output_dir": str(tmp_path), "num_steps": NUM_STEPS + 2}
    with running(recipe, tmp_path, *NEUTRAL, "learner.lr=1e-6", "learner.weight_decay=0.5") as run:
        assert run.wait() == 0, run.error_lines
    assert [line["step"] for line in train_lines(folder)] == list(range(1, NUM_STEPS + 3))
    evaluations = [line["step"] for line in lines(folder) if "eval/pass_at_1" in line]
    assert evaluations == [0, NUM_STEPS, NUM_STEPS + 2]
    changes = read_json(folder / "manifest.json")["changes"][2:]
    keys = ["learner.lr", "learner.weight_decay", "num_steps", "output_dir"]
    assert [(one["step"], one["key"]) for one in changes] == [(NUM_STEPS, key) for key in keys]
    before = load_file(chain.folder / "model" / "model.safetensors")
    after = load_file(folder / "model" / "model.safetensors")
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < moved < 2e-5  # two steps at 1e-6; at 1e-3 they would move by 1e-3


def test_kill_9_while_the_actors_start_leaves_nothing(
    uninterrupted_recipe: dict[str, Any], tmp_path: Path
) -> None:
    before = shared_memory()
    with running({**uninterrupted_recipe, "output_dir": str(tmp_path)}, tmp_path) as run:
        run.wait_for_process("ray::")
        run.process.kill()
        run.wait()
        assert_nothing_is_left(run, before)


@pytest.mark.parametrize("sign", ["gcs_server", "ray::", "RewardWorker.grade"])
def test_a_signal_before_the_first_step_ends_the_run_within_seconds(
    uninterrupted_recipe: dict[str, Any], tmp_path: Path, sign: str
) -> None:
    before = shared_memory()
    rewards = {"odd_rewards:stuck": 1.0, "accuracy": 1.0}
    recipe = {**uninterrupted_recipe, "output_dir": str(tmp_path), "rewards": rewards}
    with running(recipe, tmp_path) as run:
        run.wait_for_process(sign)
        run.process.send_signal(signal.SIGTERM)
        assert run.wait(timeout_s=20) == 1
        assert_nothing_is_left(run, before)
    (line,) = run.error_lines
    assert line.startswith("stopped") and line.endswith("start again")
    assert checkpoint_steps(run.folder) == []
