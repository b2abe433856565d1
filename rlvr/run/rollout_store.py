"""Rollouts of a run as parquet files, written for each step and each evaluation.

    rollouts/step_000040.parquet   the completions that step 40 trained, in the order of training
    rollouts/eval_000040.parquet   completions of held-out tasks under the weights of step 40

A row is a completion with its prompt, its rewards and their reasons, and its advantage. With its
tokens (`rollout.store`) it is all that the learner got: `read_groups` returns the groups again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards import Grade, Outcome, RewardResult
from rlvr.errors import ConfigError
from rlvr.run.run_folder import atomic_write
from rlvr.types import Completion, FinishReason, Group, Rollout, Task

__all__ = [
    "check_tokens",
    "forget_after",
    "read_groups",
    "rollout_rows",
    "stored_steps",
    "write_rollouts",
]

PROMPT = "prompt_token_ids"
PER_TOKEN = ("token_ids", "loss_mask", "rollout_logprobs", "policy_versions")  # of a Completion


def rollout_rows(
    groups: Sequence[Group], prompts: Sequence[str], *, step: int, with_tokens: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a step's groups; `prompts` are the texts after the template, one each."""
    return [
        {
            "step": step,
            "task_id": group.task.id,
            "group_index": i,
            "sample_index": k,
            "prompt": prompt,
            "completion": rollout.completion.text,
            "num_tokens": len(rollout.completion.token_ids),
            "finish_reason": str(rollout.completion.finish_reason),
            **_versions(rollout.completion),
            "reward": rollout.reward.value,
            "advantage": rollout.advantage,
            **{f"{name}/value": grade.value for name, grade in grades.items()},
            **{f"{name}/outcome": grade.outcome.value for name, grade in grades.items()},
            **{f"{name}/reason": grade.reason for name, grade in grades.items()},
            **(_tokens(group, rollout.completion) if with_tokens else {}),
        }
        for i, (group, prompt) in enumerate(zip(groups, prompts, strict=True))
        for k, rollout in zip(
            group.sample_indices or range(len(group.rollouts)), group.rollouts, strict=True
        )
        for grades in [rollout.reward.grades]
    ]


def _versions(completion: Completion) -> dict[str, int | None]:
    """Return the policy versions of the first and the last token."""
    versions = completion.policy_versions[completion.loss_mask]
    first, last = (int(versions[i]) if len(versions) else None for i in (0, -1))
    return {"policy_version": first, "last_policy_version": last}


def _tokens(group: Group, completion: Completion) -> dict[str, NDArray[Any]]:
    tokens = {name: getattr(completion, name) for name in PER_TOKEN}
    return {PROMPT: group.prompt_token_ids, **tokens}


def write_rollouts(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as zstd-compressed parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for row in rows for name in row)  # rewards differ between rows
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def stored_steps(folder: Path) -> dict[int, Path]:
    """Return {step: file} of the stored steps, in order."""
    files = {_step_of(path): path for path in folder.glob("step_*.parquet")}
    return dict(sorted(files.items()))


def check_tokens(path: Path) -> None:
    """Raise ConfigError if the rows of a file cannot be trained again."""
    import pyarrow.parquet as pq

    if not {PROMPT, *PER_TOKEN} <= set(pq.read_schema(path).names):
        raise ConfigError(
            f"{path}: its rows have no token ids and log-probs; runs store them with "
            "rollout.store: tokens"
        )


def read_groups(path: Path) -> tuple[Group, ...]:
    """Return the groups of a step as they were trained, with advantages.

    The prompt of a task is the text after the template, and its columns are not stored.

    Raises ConfigError: the file has no tokens.
    """
    import pyarrow.parquet as pq

    check_tokens(path)
    table = pq.read_table(path)
    tokens = {name: _arrays(table[name]) for name in (PROMPT, *PER_TOKEN)}
    rows = table.drop_columns([PROMPT, *PER_TOKEN]).to_pylist()
    members = groupby(range(len(rows)), key=lambda i: rows[i]["group_index"])
    return tuple(_group(rows, tokens, list(those)) for _, those in members)


def _arrays(column: Any) -> list[NDArray[Any]]:
    """Return a list column, one array for each row, without a Python object for each token."""
    lists = column.combine_chunks()
    ends = np.cumsum(lists.value_lengths().to_numpy())
    return np.split(lists.flatten().to_numpy(zero_copy_only=False), ends[:-1])


def _group(
    rows: Sequence[Mapping[str, Any]],
    tokens: Mapping[str, Sequence[NDArray[Any]]],
    members: Sequence[int],
) -> Group:
    first = members[0]
    return Group(
        task=Task(id=rows[first]["task_id"], prompt=rows[first]["prompt"]),
        prompt_token_ids=tokens[PROMPT][first],
        rollouts=tuple(
            _rollout(rows[i], {name: tokens[name][i] for name in PER_TOKEN}) for i in members
        ),
        sample_indices=tuple(rows[i]["sample_index"] for i in members),
    )


def _rollout(row: Mapping[str, Any], tokens: Mapping[str, NDArray[Any]]) -> Rollout:
    completion = Completion(
        **tokens, text=row["completion"], finish_reason=FinishReason(row["finish_reason"])
    )
    reward = RewardResult(value=row["reward"], grades=_grades(row))
    return Rollout(completion=completion, reward=reward, advantage=row["advantage"])


def _grades(row: Mapping[str, Any]) -> dict[str, Grade]:
    """Return the grades; a reward without an outcome did not apply to the task."""
    names = [key.removesuffix("/outcome") for key in row if key.endswith("/outcome")]
    return {
        name: Grade(
            value=row[f"{name}/value"],
            outcome=Outcome(row[f"{name}/outcome"]),
            reason=row[f"{name}/reason"],
        )
        for name in names
        if row[f"{name}/outcome"] is not None
    }


def forget_after(folder: Path, step: int) -> None:
    """Delete the files of later steps: a resumed run writes them again."""
    for path in folder.glob("*.parquet"):
        if _step_of(path) > step:
            path.unlink()


def _step_of(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
