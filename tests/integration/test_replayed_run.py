"""Halves of a run that ended: its last checkpointed step again, its batches, its engines alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from whole_runs import RLVR, Run, checkpoint_steps, lines, rollouts, running, spawn, train_lines

NUM_STEPS = 12
COMPARED = (
    "learner/loss",
    "learner/grad_norm",
    "policy/entropy",
    "policy/clip_frac",
    "policy/mismatch_kl",
    "reward/mean",
    "tokens/completion",
    "tokens/computed",
)


@pytest.fixture(scope="module")
def copied(uninterrupted: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run elsewhere, since a replay writes beside it."""
    folder = tmp_path_factory.mktemp("replay") / "tiny"
    shutil.copytree(uninterrupted.folder, folder, symlinks=True)
    return folder


def replayed(run: Path, step: int, *overrides: str) -> Run:
    """`rlvr replay`, ended."""
    command = [str(RLVR), "replay", str(run), str(step), *overrides]
    found = spawn(command, run.parent, run_folder=Path(f"{run}-replay"))
    try:
        found.wait()
    finally:
        found.end()
    return found


def test_the_learner_takes_a_stored_step_again_bit_by_bit(copied: Path) -> None:
    step = NUM_STEPS - 1
    assert step - 1 in checkpoint_steps(copied)
    found = replayed(copied, step)
    assert found.process.returncode == 0, found.error_lines
    assert found.output.endswith(
        f"step {step} of {copied} is reproduced: all numbers are bitwise equal\n"
    )
    assert found.output.count("bitwise equal") == 9
    logs = {path.name for path in (found.folder / "logs").iterdir()}
    assert {"driver.log", "learner_0.log"} <= logs and "engine_0.log" not in logs
    summary = json.loads((found.folder / "summary.json").read_text())
    numbers = {one["name"]: one["replayed"] for one in summary["numbers"]}
    (line,) = [line for line in train_lines(copied) if line["step"] == step]
    assert numbers["learner/grad_norm"] == line["learner/grad_norm"] > 0


def test_other_numbers_end_with_status_1_and_the_table(copied: Path, tmp_path: Path) -> None:
    run = tmp_path / "changed"
    shutil.copytree(copied, run, symlinks=True)
    found = replayed(run, NUM_STEPS - 1, "rollout.temperature=0.9")
    assert found.process.returncode == 1
    (line,) = found.error_lines
    assert line.startswith(f"rlvr: step 11 of {run} is not reproduced: learner/")
    assert "learner/grad_norm" in found.output


def test_stored_batches_are_trained_again_bit_by_bit(
    uninterrupted: Run, uninterrupted_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = {**uninterrupted_recipe, "output_dir": str(tmp_path), "name": "learner-alone"}
    source = f"learner.from_rollouts={uninterrupted.folder}"
    with running(recipe, tmp_path, source, "eval.tasks=null") as run:
        assert run.wait() == 0, run.error_lines
    assert "starting learner on" in run.output
    for line, expected in zip(
        train_lines(run.folder), train_lines(uninterrupted.folder), strict=True
    ):
        assert {name: line[name] for name in COMPARED} == {n: expected[n] for n in COMPARED}
    assert rollouts(run.folder) == rollouts(uninterrupted.folder)
    found = load_file(run.folder / "model" / "model.safetensors")
    expected = load_file(uninterrupted.folder / "model" / "model.safetensors")
    for name, weight in expected.items():
        assert found[name].numpy().tobytes() == weight.numpy().tobytes(), name


def test_engines_alone_write_with_the_weights_of_the_model(
    uninterrupted: Run, uninterrupted_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = {**uninterrupted_recipe, "output_dir": str(tmp_path), "num_steps": 3}
    with running(recipe, tmp_path, "rollout.only=true") as run:
        assert run.wait() == 0, run.error_lines
    assert "starting engines and rewards on" in run.output
    assert "\nmodel  " not in run.output and not (run.folder / "model").exists()
    found, expected = rollouts(run.folder), rollouts(uninterrupted.folder)
    assert found[1] == expected[1]  # before the first optimizer step
    assert [[row["task_id"] for row in found[step]] for step in (2, 3)] == [
        [row["task_id"] for row in expected[step]] for step in (2, 3)
    ]
    before, after = [line for line in lines(run.folder) if "eval/pass_at_1" in line]
    assert after == before | {"step": 3}  # the same completions
    for line in train_lines(run.folder):
        assert line["policy/entropy"] is None and line["learner/grad_norm"] == 0
