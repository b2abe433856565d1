"""One run whose processes are killed one after another, and one that nobody disturbs."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from whole_runs import (
    Run,
    assert_nothing_is_left,
    lines,
    rollouts,
    running,
    shared_memory,
    train_lines,
    wait_until,
)

NUM_STEPS = 12
ACTORS = ["engine_0", "learner_0", "rewards_0"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """The run, and what a test cannot see at its end."""

    run: Run
    stacks: dict[str, str]  # files of the folder that SIGUSR1 made
    stacks_folder: Path
    step_at_death: dict[str, int]  # newest step when the process was killed


def pid_of(run: Run, name: str) -> int:
    """Process id of an actor, as it has registered itself."""
    file = run.folder / "logs" / "processes" / f"{name}.json"
    return int(json.loads(file.read_text())["pid"])


def pid_of_ray(run: Run, name: str) -> int:
    """Process id of a process of Ray that the driver has started."""
    children = psutil.Process(run.process.pid).children()
    return next(child.pid for child in children if child.name() == name)


def newest_step(run: Run) -> int:
    return max((line["step"] for line in train_lines(run.folder)), default=0)


def restarts(run: Run) -> int:
    return run.output.count("(resources.max_restarts)")


def kill(run: Run, pid: int, name: str, at: dict[str, int]) -> None:
    at[name] = newest_step(run)
    run.look_around()
    os.kill(pid, signal.SIGKILL)


def ask_for_stacks(run: Run) -> Path:
    """Send SIGUSR1; return the folder with the files once it is named."""
    run.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "stacks of " in run.output, 60, "stacks")
    (folder,) = (run.folder / "stacks").iterdir()
    return folder


@pytest.fixture(scope="module")
def disturbed(
    uninterrupted_recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Disturbed:
    """SIGUSR1, then the death of a reward worker, of the learner and of Ray's control service."""
    folder = tmp_path_factory.mktemp("deaths")
    recipe = {**uninterrupted_recipe, "output_dir": str(folder)}
    before, at = shared_memory(), {}
    with running(recipe, folder) as run:
        run.wait_for_step(1)
        stacks_folder = ask_for_stacks(run)
        run.wait_for_process("RewardWorker.grade")
        kill(run, pid_of(run, "rewards_0"), "rewards_0", at)
        run.wait_for_step(at["rewards_0"] + 2)
        kill(run, pid_of(run, "learner_0"), "learner_0", at)
        wait_until(lambda: restarts(run) == 1, 60, "first restart")
        run.wait_for_step(newest_step(run) + 2)
        kill(run, pid_of_ray(run, "gcs_server"), "gcs_server", at)
        wait_until(lambda: restarts(run) == 2, 90, "second restart")
        run.wait()
        assert_nothing_is_left(run, before)
    return Disturbed(
        run=run,
        stacks={file.name: file.read_text() for file in stacks_folder.iterdir()},
        stacks_folder=stacks_folder,
        step_at_death=at,
    )


def test_the_run_reaches_its_end(disturbed: Disturbed) -> None:
    assert disturbed.run.process.returncode == 0, disturbed.run.error_lines
    assert disturbed.run.error_lines == []


def test_its_final_weights_are_bitwise_those_of_the_undisturbed_run(
    disturbed: Disturbed, uninterrupted: Run
) -> None:
    found = load_file(disturbed.run.folder / "model" / "model.safetensors")
    expected = load_file(uninterrupted.folder / "model" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert found[name].numpy().tobytes() == weight.numpy().tobytes(), name


def test_every_task_was_trained_once_with_the_same_completions_and_grades(
    disturbed: Disturbed, uninterrupted: Run
) -> None:
    assert rollouts(disturbed.run.folder) == rollouts(uninterrupted.folder)


def test_metrics_have_each_step_and_each_evaluation_once(disturbed: Disturbed) -> None:
    steps = train_lines(disturbed.run.folder)
    assert [line["step"] for line in steps] == list(range(1, NUM_STEPS + 1))
    evaluations = [line for line in lines(disturbed.run.folder) if "eval/pass_at_1" in line]
    assert [line["step"] for line in evaluations] == [0, NUM_STEPS]


def test_a_reward_workers_death_costs_a_regrade_and_no_restart_of_the_run(
    disturbed: Disturbed,
) -> None:
    at = disturbed.step_at_death
    counts = {
        line["step"]: (line["restarts/reward_workers"], line["restarts/run"])
        for line in train_lines(disturbed.run.folder)
    }
    checkpoint = at["learner_0"] // 2 * 2  # later steps were done again
    between = [counts[step] for step in range(at["rewards_0"] + 2, checkpoint + 1)]
    assert set(between) <= {(1, 0)}
    assert counts[NUM_STEPS] == (0, 2)


def test_each_restart_is_one_line_with_the_process_its_log_and_the_step(
    disturbed: Disturbed,
) -> None:
    run = disturbed.run
    first, second = (line for line in run.output.splitlines() if "max_restarts" in line)
    assert first.startswith("learner_0 died in ")
    assert f"; its log: {run.folder / 'logs' / 'learner_0.log'}; resuming from step " in first
    assert first.endswith(", restart 1 of 3 (resources.max_restarts)")
    assert second.startswith("Ray's gcs_server died; its log: ")
    assert second.endswith(", restart 2 of 3 (resources.max_restarts)")
    log = Path(second.split("its log: ")[1].split(";")[0])
    assert log.name == "gcs_server.out"


def test_stacks_of_all_processes_are_written_while_the_run_goes_on(disturbed: Disturbed) -> None:
    names = ["driver", *ACTORS, "requests"]
    assert sorted(disturbed.stacks) == sorted(f"{name}.txt" for name in names)
    for name in ACTORS:
        assert "Thread" in disturbed.stacks[f"{name}.txt"], name
    assert "in GrpoLoop.run" in disturbed.stacks["driver.txt"]  # among the asyncio tasks
    assert "wait to be graded" in disturbed.stacks["requests.txt"]
    note = f"stacks of 4 processes and requests under way: {disturbed.stacks_folder}"
    assert note in disturbed.run.output.splitlines()
