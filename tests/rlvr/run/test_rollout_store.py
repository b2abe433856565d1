"""Completions on disk, each with its rewards and reasons."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import completion_of, group_of, rollout_of

from rewards import Grade, Outcome, RewardResult
from rlvr.errors import RLVRError
from rlvr.run.row_log import forget_after, rollout_rows, write_rollouts
from rlvr.types import Rollout


def test_a_row_holds_the_completion_its_rewards_and_its_task(tmp_path: Path) -> None:
    graded = Rollout(
        completion=completion_of("五", num_tokens=2, policy_version=3),
        reward=RewardResult(
            value=0.5,
            grades={"accuracy": Grade(value=0.5, outcome=Outcome.CORRECT, reason="5 is 5")},
        ),
        advantage=-0.25,
    )
    ungraded = dataclasses.replace(rollout_of(None), advantage=None)
    rows = rollout_rows([group_of(graded, ungraded)], ["User: 2+3?"], step=4)
    write_rollouts(tmp_path / "rollouts" / "step_000004.parquet", rows)
    first, second = pq.read_table(tmp_path / "rollouts" / "step_000004.parquet").to_pylist()
    assert first == {
        "step": 4,
        "task_id": "n/0",
        "sample_index": 0,
        "prompt": "User: 2+3?",
        "completion": "五",
        "num_tokens": 2,
        "finish_reason": "stop",
        "policy_version": 3,
        "last_policy_version": 3,
        "reward": 0.5,
        "advantage": -0.25,
        "accuracy/value": 0.5,
        "accuracy/outcome": "correct",
        "accuracy/reason": "5 is 5",
    }
    assert (second["sample_index"], second["reward"], second["advantage"]) == (1, None, None)


def test_files_of_later_steps_are_forgotten(tmp_path: Path) -> None:
    names = ["step_000001", "step_000002", "step_000003", "eval_000000", "eval_000003"]
    for name in names:
        (tmp_path / f"{name}.parquet").touch()
    forget_after(tmp_path, 2)
    left = sorted(path.stem for path in tmp_path.iterdir())
    assert left == ["eval_000000", "step_000001", "step_000002"]


def test_a_missing_folder_has_nothing_to_forget(tmp_path: Path) -> None:
    forget_after(tmp_path / "rollouts", -1)


def test_a_full_disk_is_a_one_line_error_and_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "step_000001.parquet.tmp").symlink_to("/dev/full")
    path = tmp_path / "step_000001.parquet"
    rows = rollout_rows([group_of(rollout_of(1.0, "x" * 1000))] * 1000, ["?"] * 1000, step=1)
    with pytest.raises(RLVRError, match=r"step_000001.parquet: cannot be written: .*; make room"):
        write_rollouts(path, rows)
    assert not path.exists()
