"""`rlvr replay`: what can be replayed, and how the numbers are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import config_of, group_of, report_of, rollout_of
from model_folders import write_model

from rlvr.cli import main
from rlvr.config import load_config
from rlvr.errors import ConfigError
from rlvr.run.rollout_store import rollout_rows, write_rollouts
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder
from rlvr.stages.replay.replay_config import ReplayConfig
from rlvr.stages.replay.replay_stage import STAGE, recipe_of
from rlvr.stages.replay.step_comparison import compare_step, is_reproduced, table_text, verdict
from rlvr.stages.replay.stored_step import find_step

GROUPS = [group_of(rollout_of(1.0), rollout_of(0.0))]  # 6 completion tokens
LINE = {
    "step": 3,
    "learner/loss": 0.25,
    "learner/grad_norm": 0.5,
    "policy/entropy": 1.5,
    "policy/clip_frac": 0.125,
    "policy/kl": 0.0,
    "policy/mismatch_kl": 1e-6,
    "tokens/useful": 40,
    "tokens/completion": 6,
}  # as fakes.report_of


def compared(line: dict[str, Any] = LINE, *, dtype: str = "float32", **report: Any) -> Any:
    return compare_step(line, report_of(**report), GROUPS, dtype=dtype)


def test_equal_numbers_are_bitwise_equal() -> None:
    numbers = compared()
    assert [one.name for one in numbers] == [name for name in LINE if name != "step"]
    assert is_reproduced(numbers)
    assert verdict(numbers) == "reproduced: all numbers are bitwise equal"
    assert table_text(numbers).splitlines()[2:4] == [
        "learner/loss          0.25      0.25  bitwise equal",
        "learner/grad_norm      0.5       0.5  bitwise equal",
    ]


@pytest.mark.parametrize(
    "report",
    [
        {"loss": 0.25001},  # 4e-5 of it
        {"grad_norm": 0.5 + 1e-9},
        {"mismatch_kl": 5e-6},  # all of it is rounding
    ],
)
def test_rounding_is_reproduced_and_named(report: dict[str, float]) -> None:
    numbers = compared(**report)
    assert is_reproduced(numbers)
    (name,) = [one.name for one in numbers if not one.is_equal]
    assert verdict(numbers) == f"reproduced, with floating-point noise in {name}"


@pytest.mark.parametrize(
    ("report", "text"),
    [
        ({"loss": 0.2501}, "not reproduced: learner/loss was 0.25 and is 0.2501"),
        ({"num_tokens": 41}, "not reproduced: tokens/useful was 40 and is 41"),
        (
            {"entropy": float("nan"), "kl": 0.5},
            "not reproduced: policy/entropy was 1.5 and is nan, policy/kl was 0 and is 0.5",
        ),
        (
            {"num_loss_tokens": 0, "entropy": 0.0},
            "not reproduced: policy/entropy was 1.5 and is -, policy/clip_frac was 0.125 and is -, "
            "policy/kl was 0 and is -, policy/mismatch_kl was 1e-06 and is -",
        ),
    ],
)
def test_other_numbers_are_not_reproduced(report: dict[str, Any], text: str) -> None:
    numbers = compared(**report)
    assert not is_reproduced(numbers)
    assert verdict(numbers) == text


def test_bfloat16_rounds_more() -> None:
    assert is_reproduced(compared(dtype="bfloat16", grad_norm=0.51))
    assert not is_reproduced(compared(grad_norm=0.51))
    assert not is_reproduced(compared(dtype="bfloat16", grad_norm=0.55))


def test_a_step_without_a_signal_has_no_policy_numbers() -> None:
    names = [name for name in LINE if name.startswith("policy/")]
    numbers = compared(LINE | dict.fromkeys(names), num_loss_tokens=0)
    assert verdict(numbers) == "reproduced: all numbers are bitwise equal"


def run_with(
    folder: Path, *, steps: int, checkpoints: tuple[int, ...], with_tokens: bool = True
) -> RunFolder:
    """A run folder as `rlvr grpo` leaves it, as far as a replay reads it."""
    run = RunFolder(folder)
    run.write_config(config_of(model={"path": str(write_model(folder.parent / "model"))}))
    for step in range(1, steps + 1):
        MetricsFile(run.metrics).append(LINE | {"step": step})
        rows = rollout_rows(GROUPS, ["User: 2+3?"], step=step, with_tokens=with_tokens)
        write_rollouts(run.rollouts / f"step_{step:06d}.parquet", rows)
    for step in checkpoints:
        path = run.checkpoints / f"step_{step:06d}"
        write_model(path / "model")
        (path / "state.json").touch()
    return run


def test_a_step_starts_from_the_checkpoint_before_it_and_the_first_from_the_model(
    tmp_path: Path,
) -> None:
    run = run_with(tmp_path / "run", steps=3, checkpoints=(2,))
    model = str(tmp_path / "model")
    third = find_step(run, 3, model_path=model)
    assert third.checkpoint == run.checkpoints / "step_000002"
    assert third.model == str((run.checkpoints / "step_000002" / "model").resolve())
    assert third.batch == run.rollouts / "step_000003.parquet"
    assert third.metrics["step"] == 3
    first = find_step(run, 1, model_path=model)
    assert (first.checkpoint, first.model) == (None, model)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (2, "the checkpoint of step 1 before it is not on disk"),
        (6, "it has no rollouts/step_000006.parquet"),
    ],
)
def test_the_steps_that_can_be_replayed_are_named(tmp_path: Path, step: int, why: str) -> None:
    run = run_with(tmp_path / "run", steps=5, checkpoints=(2, 4, 5))
    with pytest.raises(ConfigError) as refused:
        find_step(run, step, model_path="model")
    assert f"step {step} cannot be replayed, {why}; steps that can be: 1, 3, 5 (" in str(
        refused.value
    )


def test_texts_alone_cannot_be_replayed(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", steps=1, checkpoints=(), with_tokens=False)
    with pytest.raises(ConfigError, match=r"step_000001.parquet: its rows have no token ids"):
        find_step(run, 1, model_path="model")


def test_the_recipe_is_that_of_the_run_without_engines(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", steps=1, checkpoints=())
    recipe, overrides = recipe_of(str(run.path), 1, ["learner.token_budget=64"])
    config = load_config(ReplayConfig, recipe, overrides)
    assert (config.num_engines, config.num_reward_workers, config.num_ranks) == (0, 0, 1)
    assert (config.replay.step, config.learner.token_budget) == (1, 64)
    assert config.replayed_run == run.path
    assert config.run_dir == tmp_path / "run-replay"


def test_a_run_without_a_learner_is_refused(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", steps=1, checkpoints=())
    run.write_config(config_of(rollout={"only": True}))
    config = load_config(ReplayConfig, *recipe_of(str(run.path), 1, []))
    with pytest.raises(ConfigError, match=r"made with rollout.only: no learner took its steps"):
        STAGE.check(config)


def test_the_command_names_a_folder_that_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(tmp_path), "3"]) == 2
    assert capsys.readouterr().err == (
        f"rlvr: {tmp_path}: not the folder of a run: it has no config.yaml\n"
    )


def test_the_command_checks_a_step_without_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_with(tmp_path / "run", steps=3, checkpoints=(2,))
    assert main(["replay", str(run.path), "3", "--check"]) == 0
    assert "all checks passed" in capsys.readouterr().out
    assert main(["replay", str(run.path), "2", "--check"]) == 2
    assert "steps that can be: 1, 3 " in capsys.readouterr().err
