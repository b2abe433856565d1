"""Rollouts on disk: one parquet file a step, a row a completion, with each reward and its
reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.run.run_folder import written
from rlvr.types import Group

__all__ = ["forget_after", "rollout_rows", "write_rollouts"]


def rollout_rows(
    groups: Sequence[Group], prompts: Sequence[str], *, step: int
) -> list[dict[str, Any]]:
    """The rows of a step's groups; `prompts` are the texts after the template, one a group."""
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
            **{f"{name}/value": value for name, value in rollout.reward.parts.items()},
            **{f"{name}/outcome": value for name, value in rollout.reward.outcomes.items()},
            **{f"{name}/reason": value for name, value in rollout.reward.reasons.items()},
        }
        for group, prompt in zip(groups, prompts, strict=True)
        for k, rollout in zip(
            group.sample_indices or range(len(group.rollouts)), group.rollouts, strict=True
        )
    ]


def write_rollouts(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write zstd parquet, aside and renamed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for row in rows for name in row)  # rewards differ from row to row
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    aside = path.with_name(f".{path.name}.tmp")
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, aside, compression="zstd")
        aside.rename(path)


def forget_after(folder: Path, step: int) -> None:
    """Delete the files of later steps: a resumed run makes them again."""
    for path in folder.glob("*.parquet"):
        if int(path.stem.rpartition("_")[2]) > step:
            path.unlink()
