"""`rlvr sample`: rejection sampling (DeepSeek-R1, arXiv 2501.12948, section 2.3.3).

    tasks --engines--> k completions of each --rewards--> sampled.jsonl
    sampled.jsonl --keep--> rows.jsonl (all, with the reason if dropped) --rewrite--> kept.jsonl

Tasks are generated in chunks that depend only on the recipe, and the rows of a chunk are written
together, so that an interrupted run resumes without a missing or a duplicate row.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlvr.config.sections import SamplingSection
from rlvr.data.inputs import Inputs, check_generation, check_is_finite
from rlvr.data.samples import sample_row
from rlvr.data.tasks import TaskSource
from rlvr.errors import ConfigError
from rlvr.grpo.rollouts import FIXED_POLICY_VERSION
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.run.row_log import RowLog, write_rows
from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.sample.rejection_filter import RejectionFilter
from rlvr.stages.sample.sample_config import SampleConfig
from rlvr.types import Task

if TYPE_CHECKING:
    from rlvr.grpo.generation_session import GenerationSession

__all__ = ["STAGE"]

MAX_CHUNKS_AT_ONCE = 2  # one is graded while the next is generated


def _check(config: SampleConfig) -> Inputs:
    inputs = check_generation(config, config.tasks, config.rewards)
    check_is_finite(inputs.tasks, section="tasks")
    RejectionFilter(config)  # checks its evaluation sets and rewriting function
    if config.keep.one_language is not None and "language" not in inputs.tasks.task(0).columns:
        raise ConfigError(
            "keep.one_language: the tasks have no column 'language'; map one with "
            "tasks.columns.language=COLUMN or leave the filter out"
        )
    return inputs


def _run(config: SampleConfig, folder: RunFolder, inputs: Inputs) -> None:
    """Generate the missing completions and filter all of them.

    Raises:
        RLVRError: Stopped, a dead actor, or wrong user input.
    """
    log = RowLog(folder.path / "sampled.jsonl")
    chunks = _chunks(inputs.tasks, config.rollout)
    written = {row["task_id"] for row in log.rows}
    missing = [i for i, chunk in enumerate(chunks) if chunk[0].id not in written]
    if missing:
        from rlvr.grpo.generation_session import run_session

        async def work(session: GenerationSession) -> None:
            await _generate(config, session, chunks, missing, log)

        run_session(config, folder, inputs, work)
    order = {task.id: i for i, task in enumerate(task for chunk in chunks for task in chunk)}
    sampled = sorted(log.rows, key=lambda row: order[row["task_id"]])
    rows, kept = RejectionFilter(config).judge(sampled)
    write_rows(folder.path / "rows.jsonl", rows)
    write_rows(folder.path / "kept.jsonl", kept)
    write_json(folder.summary, _summary(rows, kept))


async def _generate(
    config: SampleConfig,
    session: GenerationSession,
    chunks: Sequence[Sequence[Task]],
    missing: Sequence[int],
    log: RowLog,
) -> None:
    rollout = config.rollout
    sampling = SamplingSpec(
        temperature=rollout.temperature,
        max_tokens=rollout.max_tokens,
        stop=tuple(rollout.stop),
        stop_token_ids=session.stop_token_ids,
        top_p=rollout.top_p,
    )
    slots = asyncio.Semaphore(MAX_CHUNKS_AT_ONCE)
    num_done = len(chunks) - len(missing)

    async def generate(number: int) -> None:
        nonlocal num_done
        async with slots:
            rollouts = await session.collector.collect(
                chunks[number],
                group_size=rollout.group_size,
                sampling=sampling,
                policy_version=FIXED_POLICY_VERSION,
                seed_parts=("sample", number),
            )
        log.append(
            sample_row(group.task, one, number=k, think_prefilled=session.encoder.think_prefilled)
            for group in rollouts.groups
            for k, one in enumerate(group.rollouts)
        )
        num_done += 1
        print(f"{num_done} of {len(chunks)} parts, {len(log.rows)} completions", flush=True)

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in missing:
                tasks.create_task(generate(number))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _chunks(source: TaskSource, rollout: SamplingSection) -> list[list[Task]]:
    """Split all tasks, in order, into chunks that keep every engine busy."""
    tasks = [source.task(i) for i in range(source.num_tasks or 0)]
    size = max(1, 2 * rollout.num_engines * rollout.max_concurrent // rollout.group_size)
    return [tasks[first : first + size] for first in range(0, len(tasks), size)]


def _summary(
    rows: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Count the rows; a dropped one counts under the first word of its reason."""
    reasons = Counter(
        str(row["dropped_because"]).partition(":")[0] for row in rows if not row["kept"]
    )
    return {
        "num_tasks": len({row["task_id"] for row in rows}),
        "num_tasks_kept": len({row["task_id"] for row in kept}),
        "num_rows": len(rows),
        "num_kept": len(kept),
        "dropped": dict(reasons.most_common()),
        "kept_by_kind": _counts(kept, "kind"),
        "kept_by_language": _counts(kept, "language"),
        "mean_pass_rate": sum(row["pass_rate"] for row in rows) / len(rows),
    }


def _counts(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, int]:
    return dict(Counter(str(row[column]) for row in rows if column in row))


def _closing(config: SampleConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    dropped = ", ".join(f"{name} {count}" for name, count in summary["dropped"].items())
    return (
        f"{folder.path / 'kept.jsonl'}: {summary['num_kept']} of {summary['num_rows']} "
        f"completions, of {summary['num_tasks_kept']} of {summary['num_tasks']} tasks; dropped: "
        f"{dropped or 'none'}"
    )


STAGE = Stage(
    schema=SampleConfig,
    check=_check,
    run=_run,
    closing=_closing,
    free_keys=("keep", "rewrite"),  # completions that were generated stay
)
