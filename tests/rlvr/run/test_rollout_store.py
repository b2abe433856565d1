"""Completions on disk, each with its rewards and reasons."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import completion_of, group_of, rollout_of

from rewards import Grade, Outcome, RewardResult
from rlvr.errors import ConfigError, RLVRError
from rlvr.run.rollout_store import (
    forget_after,
    read_groups,
    rollout_rows,
    stored_steps,
    write_rollouts,
)
from rlvr.types import Completion, FinishReason, Group, Rollout


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
        "group_index": 0,
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


TOKENS = ("token_ids", "loss_mask", "rollout_logprobs", "policy_versions")


def in_two_turns() -> Completion:
    """Three sampled tokens, two of a tool, one sampled under newer weights, cut off."""
    tool = Completion.forced(np.array([30, 31], np.int32), policy_version=1)
    first, last = completion_of("a", policy_version=1), completion_of("b", num_tokens=1)
    last = dataclasses.replace(
        last,
        policy_versions=np.array([2], np.int32),
        rollout_logprobs=np.array([-1e-30], np.float32),
        finish_reason=FinishReason.LENGTH,
    )
    return first.followed_by(tool).followed_by(last)


def graded(completion: Completion, value: float | None, **grades: Grade) -> Rollout:
    reward = RewardResult(value=value, grades=grades)
    advantage = None if value is None else value / 3
    return Rollout(completion=completion, reward=reward, advantage=advantage)


def stored_and_read(tmp_path: Path, groups: Sequence[Group]) -> tuple[Group, ...]:
    rows = rollout_rows(groups, ["User: 2+3?"] * len(groups), step=1, with_tokens=True)
    write_rollouts(tmp_path / "step_000001.parquet", rows)
    return read_groups(tmp_path / "step_000001.parquet")


def as_values(group: Group) -> dict[str, Any]:
    """All that a learner or a metric sees, in values that can be compared."""
    return {
        "task": group.task.id,
        "prompt": (group.prompt_token_ids.dtype, group.prompt_token_ids.tolist()),
        "indices": group.sample_indices or tuple(range(len(group.rollouts))),
        "rollouts": [
            (
                [
                    (getattr(r.completion, n).dtype, getattr(r.completion, n).tolist())
                    for n in TOKENS
                ],
                (r.completion.text, r.completion.finish_reason, r.reward, r.advantage),
            )
            for r in group.rollouts
        ],
    }


def test_groups_come_back_as_they_were_trained(tmp_path: Path) -> None:
    right = Grade(value=1.0, outcome=Outcome.CORRECT, reason="5 is 5")
    unread = Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD)
    part = dataclasses.replace(  # of a mini-batch
        group_of(
            graded(in_two_turns(), 1 / 3, accuracy=right),
            graded(completion_of("五", num_tokens=0), None, accuracy=unread),
        ),
        sample_indices=(1, 3),
    )
    whole = group_of(graded(completion_of(), 0.1, **{"odd:letters": right}), task_id="n/1")
    found = stored_and_read(tmp_path, [part, whole])
    assert [as_values(group) for group in found] == [as_values(part), as_values(whole)]
    assert found[0].task.prompt == "User: 2+3?"


def test_two_groups_of_one_task_stay_two(tmp_path: Path) -> None:
    first, second = graded(completion_of("5"), 1.0), graded(completion_of("6"), 0.0)
    groups = [group_of(first), dataclasses.replace(group_of(second), sample_indices=(1,))]
    found = stored_and_read(tmp_path, groups)
    assert [[r.completion.text for r in group.rollouts] for group in found] == [["5"], ["6"]]


def test_tokens_are_lists_of_small_types(tmp_path: Path) -> None:
    stored_and_read(tmp_path, [group_of(graded(in_two_turns(), 1.0))])
    schema = pq.read_schema(tmp_path / "step_000001.parquet")
    types = {name: schema.field(name).type.value_type for name in ("prompt_token_ids", *TOKENS)}
    assert types == {
        "prompt_token_ids": pa.int32(),
        "token_ids": pa.int32(),
        "loss_mask": pa.bool_(),
        "rollout_logprobs": pa.float32(),
        "policy_versions": pa.int32(),
    }


def test_rows_without_tokens_cannot_be_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "step_000001.parquet"
    write_rollouts(path, rollout_rows([group_of(rollout_of(1.0))], ["?"], step=1))
    with pytest.raises(ConfigError, match=r"no token ids and log-probs; .*rollout.store: tokens"):
        read_groups(path)


def test_the_stored_steps_are_in_order(tmp_path: Path) -> None:
    names = ["step_000010", "step_000002", "eval_000002", "step_1000000"]
    for name in names:
        (tmp_path / f"{name}.parquet").touch()
    assert list(stored_steps(tmp_path)) == [2, 10, 1000000]
    assert stored_steps(tmp_path / "none") == {}


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
