"""Completions of an evaluation as rows on disk, so that it can be resumed.

    tasks x samples - rows on disk --requests--> RolloutCollector --graded chunks--> rows.jsonl

The seed of a completion depends only on the recipe's seed, its strategy, suite, task and index, so
that a resumed evaluation generates what an uninterrupted one would have generated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlvr.data.samples import sample_row
from rlvr.evaluation.suites import SUITE, Suite, with_cue
from rlvr.grpo.rollouts import FIXED_POLICY_VERSION, GradedRollout, PromptEncoder, RolloutCollector
from rlvr.rollout.engine_requests import Request, SamplingSpec, completion_seed
from rlvr.run.row_log import RowLog
from rlvr.types import Task

__all__ = ["CompletionPool", "RowKey", "evaluation_row", "generate_pool", "key_of"]

MAX_COLUMN_CHARS = 4000

RowKey = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionPool:
    """Completions that are generated in the same way."""

    name: str  # plain, cot or beam
    cue: str | None = None  # appended to each problem; "": nothing, None: by its language
    sampling: SamplingSpec
    seed: int


def key_of(row: Mapping[str, Any]) -> RowKey:
    """Return the key that identifies a row."""
    return row["strategy"], row["suite"], row["id"], row["sample_index"]


async def generate_pool(
    suite: Suite,
    pool: CompletionPool,
    log: RowLog,
    collector: RolloutCollector,
    *,
    closed: Collection[tuple[int, int]] = (),
    on_rows: Callable[[int, int], None] = lambda num_done, num_requested: None,
) -> None:
    """Generate and grade the missing completions of a suite; return when all rows are on disk.

    `closed` grows during generation: (task_index, sample_index) of reasoning that was cut by a
    budget. `on_rows` gets the number of completions on disk and the number requested.
    """
    tasks = [with_cue(task, pool.cue) for task in suite.tasks]
    requests = _missing(suite, pool, tasks, log, collector.encoder)
    if not requests:
        return
    num_done = 0

    def append(chunk: Sequence[GradedRollout], seconds: float) -> None:
        rows = [
            {
                **evaluation_row(suite, pool.name, tasks[one.task_index], one, collector.encoder),
                "budget_closed": (one.task_index, one.sample_index) in closed,
            }
            for one in chunk
        ]
        rows[0]["seconds"] = round(seconds, 4)
        log.append(rows)
        nonlocal num_done
        num_done += len(rows)
        on_rows(num_done, len(requests))

    await collector.generate_and_grade(
        tasks, requests, pool.sampling, policy_version=FIXED_POLICY_VERSION, on_graded=append
    )


def _missing(
    suite: Suite, pool: CompletionPool, tasks: Sequence[Task], log: RowLog, encoder: PromptEncoder
) -> list[Request]:
    on_disk = {key_of(row) for row in log.rows}
    requests: list[Request] = []
    for i, task in enumerate(tasks):
        keys = [(pool.name, suite.name, task.id, k) for k in range(suite.num_samples)]
        prompt = encoder.encode(task)
        requests += [
            Request(
                task_index=i,
                sample_index=k,
                prompt_token_ids=prompt,
                seed=completion_seed(pool.seed, "eval", pool.name, suite.name, task.id, k),
            )
            for k, key in enumerate(keys)
            if key not in on_disk
        ]
    return requests


def evaluation_row(
    suite: Suite, strategy: str, task: Task, graded: GradedRollout, encoder: PromptEncoder
) -> dict[str, Any]:
    """Return one row for rows.jsonl; docs/evaluation.md describes each key."""
    columns = {
        name: value
        for name, value in task.columns.items()
        # without long columns such as tests: the task's id identifies them
        if name != SUITE and not (isinstance(value, str) and len(value) > MAX_COLUMN_CHARS)
    }
    row = sample_row(
        replace(task, columns=columns),
        graded.rollout,
        number=graded.sample_index,
        think_prefilled=encoder.think_prefilled,
    )
    del row["task_id"]
    reasoning, answer = row["reasoning_content"], row["content"]
    return {
        **row,
        "id": task.id,
        "suite": suite.name,
        "strategy": strategy,
        "sample_index": graded.sample_index,
        "is_right": graded.rollout.reward.values.get(suite.correct_by) == 1.0,
        "thought_tokens": len(encoder.completion_ids(reasoning)) if reasoning else 0,
        "answer_tokens": len(encoder.completion_ids(answer)) if answer else 0,
        "seconds": 0.0,  # since the chunk before, in the first row of a chunk
    }
