"""Completions as rows that survive a kill: what is missing is written, graded, and put on the disk.

tasks x samples - rows that are there --requests--> engines --chunks--> graders --> rows.jsonl

A completion's seed hangs on the recipe's seed, its strategy, suite, task and place alone, so that
what is written after a kill is what would have been written without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlvr.data.reasoning_tags import split_thought
from rlvr.evaluation.suites import SUITE, Suite, asked_task
from rlvr.grpo.rollouts import Graders
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec, completion_seed
from rlvr.run.row_log import RowLog
from rlvr.types import RewardResult, Task, Ungraded

__all__ = [
    "ActorGroup",
    "Encoder",
    "Generate",
    "Pool",
    "RowKey",
    "graded_rows",
    "key_of",
    "write_pool",
]

MAX_COLUMN_CHARS = 4000

RowKey = tuple[str, str, str, int]


class Generate(Protocol):
    """What writes completions: `GenerationSession.generate`, and what closes thoughts around it."""

    def __call__(
        self, requests: Sequence[Request], sampling: SamplingSpec
    ) -> AsyncIterator[list[Finished]]: ...


class Encoder(Protocol):
    """A template with its tokenizer, see rlvr.data.encoding."""

    think_prefilled: bool

    def encode(self, task: Task) -> Any: ...

    def text(self, task: Task) -> str: ...

    def completion_ids(self, text: str) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Completions that were written in the same way."""

    name: str  # plain, cot or beam
    cue: str | None = None  # behind each problem; "" leaves it as it is, None: by its language
    sampling: SamplingSpec
    seed: int


def key_of(row: dict[str, Any]) -> RowKey:
    """What no two rows share."""
    return row["strategy"], row["suite"], row["id"], row["sample_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorGroup:
    """What writes, what grades, and the template between them."""

    generate: Generate
    graders: Graders
    encoder: Encoder


async def write_pool(
    suite: Suite,
    pool: Pool,
    log: RowLog,
    actors: ActorGroup,
    *,
    closed: Collection[tuple[int, int]] = (),
    on_rows: Callable[[int, int], None] = lambda num_done, num_asked: None,
) -> None:
    """Write and grade what is missing of a suite; returns when all of it is on the disk.

    `closed` grows while completions come: (task_index, sample_index) of thoughts that were closed.
    `on_rows` hears how many completions are on the disk, and how many were asked for.
    """
    tasks = [asked_task(task, pool.cue) for task in suite.tasks]
    requests = _missing(suite, pool, tasks, log, actors.encoder)
    if not requests:
        return
    clock, num_done = time.monotonic(), 0

    async def grade(chunk: Sequence[Finished], seconds: float) -> None:
        rows = await graded_rows(suite, pool.name, tasks, chunk, actors)
        for row, item in zip(rows, chunk, strict=True):
            row["budget_closed"] = (item.task_index, item.sample_index) in closed
        rows[0]["seconds"] = round(seconds, 4)
        log.append(rows)
        nonlocal num_done
        num_done += len(rows)
        on_rows(num_done, len(requests))

    try:
        async with asyncio.TaskGroup() as grading:
            async for chunk in actors.generate(requests, pool.sampling):
                now = time.monotonic()
                grading.create_task(grade(chunk, now - clock))
                clock = now
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # it names what died; the rest follows from it


async def graded_rows(
    suite: Suite, pool: str, tasks: Sequence[Task], chunk: Sequence[Finished], actors: ActorGroup
) -> list[dict[str, Any]]:
    """Rows for rows.jsonl, in the order of the chunk; docs/evaluation.md says what each key is."""
    results = await actors.graders.grade(_ungraded(tasks, chunk, actors.encoder))
    return [
        _row(suite, pool, tasks[item.task_index], item, result, actors.encoder)
        for item, result in zip(chunk, results, strict=True)
    ]


def _missing(
    suite: Suite, pool: Pool, tasks: Sequence[Task], log: RowLog, encoder: Encoder
) -> list[Request]:
    there = {key_of(row) for row in log.rows}
    requests = []
    for i, task in enumerate(tasks):
        wanted = [
            k for k in range(suite.num_samples) if (pool.name, suite.name, task.id, k) not in there
        ]
        if not wanted:
            continue
        prompt = encoder.encode(task)
        requests += [
            Request(
                task_index=i,
                sample_index=k,
                prompt_token_ids=prompt,
                seed=completion_seed(pool.seed, "eval", pool.name, suite.name, task.id, k),
            )
            for k in wanted
        ]
    return requests


def _ungraded(tasks: Sequence[Task], chunk: Sequence[Finished], encoder: Encoder) -> Ungraded:
    return Ungraded(
        texts=[item.completion.text for item in chunk],
        columns=[tasks[item.task_index].columns for item in chunk],
        think_prefilled=encoder.think_prefilled,
        prompts=[encoder.text(tasks[item.task_index]) for item in chunk],
        completion_ids=[item.completion.token_ids for item in chunk],
    )


def _row(
    suite: Suite, pool: str, task: Task, item: Finished, result: RewardResult, encoder: Encoder
) -> dict[str, Any]:
    completion = item.completion
    parts = split_thought(completion.text, think_prefilled=encoder.think_prefilled)
    own = {name: value for name, value in task.columns.items() if _is_kept(name, value)}
    return {
        **own,
        "id": task.id,
        "suite": suite.name,
        "strategy": pool,
        "sample_index": item.sample_index,
        "prompt": task.prompt,
        "reasoning_content": parts.thought,
        "content": parts.answer,
        "completion": completion.text,
        "think_prefilled": encoder.think_prefilled,
        "scores": dict(result.parts),
        "reasons": {name: reason for name, reason in result.reasons.items() if reason},
        "is_right": result.parts.get(suite.correct_by) == 1.0,
        "num_tokens": len(completion.token_ids),
        "thought_tokens": len(encoder.completion_ids(parts.thought)) if parts.thought else 0,
        "answer_tokens": len(encoder.completion_ids(parts.answer)) if parts.answer else 0,
        "finish_reason": str(completion.finish_reason),
        "seconds": 0.0,  # since the chunk before, in the first row of a chunk
    }


def _is_kept(name: str, value: object) -> bool:
    """Megabytes of tests are not repeated in each row; the task's id leads to them."""
    return name != SUITE and (not isinstance(value, str) or len(value) <= MAX_COLUMN_CHARS)
