"""Rejection sampling (DeepSeek-R1, arXiv 2501.12948, section 2.3.3): write, verify, filter, keep.

    tasks --engines--> k completions of each --rewards--> sampled.jsonl    goes on where it stopped
    sampled.jsonl --keep--> rows.jsonl (all, with the reason why not) --rewrite--> kept.jsonl

Tasks are dealt out in chunks that hang on nothing but the recipe, and a chunk is written as a
whole, so that an interrupted run goes on without a lost row or one that stands twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.config.sections import SamplingSection
from rlvr.data.inputs import Inputs
from rlvr.data.samples import sample_row
from rlvr.data.tasks import TaskSource
from rlvr.grpo.generation_session import GenerationSession, run_session
from rlvr.grpo.rollouts import FIXED_POLICY_VERSION
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.run.row_log import RowLog, write_rows
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.stages.sample.rejection_filter import RejectionFilter
from rlvr.stages.sample.sample_config import SampleConfig
from rlvr.types import Group, Task

__all__ = ["run_sample"]

MAX_CHUNKS_AT_ONCE = 2  # one is graded to its end while the next is written


def run_sample(config: SampleConfig, folder: RunFolder, inputs: Inputs) -> dict[str, Any]:
    """Write what is not written yet, filter all of it; returns the summary.

    The caller holds the folder's lock and has claimed it.

    Raises:
        RLVRError: Stopped, a dead actor, or the user's mistake.
    """
    log = RowLog(folder.path / "sampled.jsonl")
    chunks = _chunks(inputs.tasks, config.rollout)
    written = {row["task_id"] for row in log.rows}
    missing = [i for i, chunk in enumerate(chunks) if chunk[0].id not in written]
    if missing:

        async def work(session: GenerationSession) -> None:
            await _write(config, session, chunks, missing, log)

        run_session(config, folder, inputs, work)
    place = {task.id: i for i, task in enumerate(task for chunk in chunks for task in chunk)}
    rows = sorted(log.rows, key=lambda row: place[row["task_id"]])  # whichever part ended first
    return _filter(config, folder, rows)


async def _write(
    config: SampleConfig,
    session: GenerationSession,
    chunks: Sequence[Sequence[Task]],
    missing: Sequence[int],
    log: RowLog,
) -> None:
    sampling = _sampling(config.rollout, session.stop_token_ids)
    turn = asyncio.Semaphore(MAX_CHUNKS_AT_ONCE)
    num_done = len(chunks) - len(missing)

    async def write(number: int) -> None:
        nonlocal num_done
        async with turn:
            rollouts = await session.collector.collect(
                chunks[number],
                group_size=config.rollout.group_size,
                sampling=sampling,
                policy_version=FIXED_POLICY_VERSION,
                seed_parts=("sample", number),
            )
        log.append(_rows(rollouts.groups, think_prefilled=session.encoder.think_prefilled))
        num_done += 1
        print(f"{num_done} of {len(chunks)} parts, {len(log.rows)} completions", flush=True)

    try:
        async with asyncio.TaskGroup() as writing:
            for number in missing:
                writing.create_task(write(number))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _filter(
    config: SampleConfig, folder: RunFolder, sampled: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    rows, kept = RejectionFilter(config).judge(sampled)
    write_rows(folder.path / "rows.jsonl", rows)
    write_rows(folder.path / "kept.jsonl", kept)
    summary = _summary(rows, kept)
    write_json(folder.summary, summary)
    return summary


def _summary(
    rows: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Counts; a dropped row counts under the first word of its reason."""
    reasons = Counter(
        str(row["dropped_because"]).partition(":")[0] for row in rows if not row["kept"]
    )
    return {
        "num_tasks": len({row["task_id"] for row in rows}),
        "num_tasks_kept": len({row["task_id"] for row in kept}),
        "num_rows": len(rows),
        "num_kept": len(kept),
        "dropped": dict(reasons.most_common()),
        "kept_by_kind": _count(kept, "kind"),
        "kept_by_language": _count(kept, "language"),
        "mean_pass_rate": sum(row["pass_rate"] for row in rows) / len(rows),
    }


def _count(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, int]:
    return dict(Counter(str(row[column]) for row in rows if column in row))


def _chunks(source: TaskSource, rollout: SamplingSection) -> list[list[Task]]:
    """All tasks in their order, as many at a time as keep every engine busy."""
    tasks = [source.task(i) for i in range(source.num_tasks or 0)]
    size = max(1, 2 * rollout.num_engines * rollout.max_concurrent // rollout.group_size)
    return [tasks[first : first + size] for first in range(0, len(tasks), size)]


def _sampling(rollout: SamplingSection, stop_token_ids: tuple[int, ...]) -> SamplingSpec:
    return SamplingSpec(
        temperature=rollout.temperature,
        max_tokens=rollout.max_tokens,
        stop=tuple(rollout.stop),
        stop_token_ids=stop_token_ids,
        top_p=rollout.top_p,
    )


def _rows(groups: Sequence[Group], *, think_prefilled: bool) -> list[dict[str, Any]]:
    return [
        sample_row(group.task, rollout, number=k, think_prefilled=think_prefilled)
        for group in groups
        for k, rollout in enumerate(group.rollouts)
    ]
