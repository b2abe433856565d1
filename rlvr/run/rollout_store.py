"""Rollouts on disk: one parquet file per step, one row per completion with all its rewards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.run.run_folder import atomic_write
from rlvr.types import Group

__all__ = ["forget_after", "rollout_rows", "write_rollouts"]


def rollout_rows(
    groups: Sequence[Group], prompts: Sequence[str], *, step: int
) -> list[dict[str, Any]]:
    """Return the rows of a step's groups; `prompts` are the texts after the template, one each."""
    return [
        {
            "step": step,
            "task_id": group.task.id,
            "sample_index": k,
            "prompt": prompt,
            "completion": rollout.completion.text,
            "num_tokens": len(rollout.completion.token_ids),
            "finish_reason": str(rollout.completion.finish_reason),
            "policy_version": rollout.completion.policy_version,
            "reward": rollout.reward.value,
            "advantage": rollout.advantage,
            **{f"{name}/value": grade.value for name, grade in grades.items()},
            **{f"{name}/outcome": grade.outcome.value for name, grade in grades.items()},
            **{f"{name}/reason": grade.reason for name, grade in grades.items()},
        }
        for group, prompt in zip(groups, prompts, strict=True)
        for k, rollout in zip(
            group.sample_indices or range(len(group.rollouts)), group.rollouts, strict=True
        )
        for grades in [rollout.reward.grades]
    ]


def write_rollouts(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as zstd-compressed parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for row in rows for name in row)  # rewards differ between rows
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def forget_after(folder: Path, step: int) -> None:
    """Delete the files of later steps: a resumed run writes them again."""
    for path in folder.glob("*.parquet"):
        if int(path.stem.rpartition("_")[2]) > step:
            path.unlink()
