"""Beam search over the tasks of a suite, some at a time, each with one row when it is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.signals import in_daemon_thread
from rlvr.evaluation.beam import BeamSearch, Found
from rlvr.evaluation.completion_rows import CompletionPool, evaluation_row, key_of
from rlvr.evaluation.eval_config import StrategySection
from rlvr.evaluation.scorers import Scored, Scorer
from rlvr.evaluation.suites import Suite
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.rollout.engine_requests import Finished
from rlvr.run.row_log import RowLog
from rlvr.types import Completion, FinishReason, Task

__all__ = ["TASKS_AT_A_TIME", "search_suite"]

TASKS_AT_A_TIME = 16  # what a kill can cost


async def search_suite(
    suite: Suite,
    pool: CompletionPool,
    log: RowLog,
    collector: RolloutCollector,
    *,
    strategy: StrategySection,
    scorer: Scorer,
    decode: Callable[[NDArray[np.int32]], str],
) -> None:
    """Search what is missing; a row has the tokens of all that was tried as search_tokens."""
    there = {key_of(row) for row in log.rows}
    left = [t for t in suite.tasks if (pool.name, suite.name, t.id, 0) not in there]
    for start in range(0, len(left), TASKS_AT_A_TIME):
        tasks = left[start : start + TASKS_AT_A_TIME]
        prompts = [collector.encoder.text(task) for task in tasks]

        async def score(
            items: Sequence[tuple[int, str]],
            tasks: Sequence[Task] = tasks,
            prompts: Sequence[str] = prompts,
        ) -> list[float | None]:
            scored = [Scored(task=tasks[i], prompt=prompts[i], text=text) for i, text in items]
            return await in_daemon_thread(lambda: scorer(scored))

        search = BeamSearch(
            engines=collector.engines,
            score=score,
            decode=decode,
            sampling=pool.sampling,
            step_end=strategy.step_end,
            beams=strategy.beams,
            width=strategy.width,
            max_iterations=strategy.max_iterations,
            aggregate=strategy.aggregate,
        )
        log.append(await _searched(suite, pool, tasks, collector, search))


async def _searched(
    suite: Suite,
    pool: CompletionPool,
    tasks: Sequence[Task],
    collector: RolloutCollector,
    search: BeamSearch,
) -> list[dict[str, Any]]:
    started = time.monotonic()
    found = await search.search(
        [collector.encoder.encode(task) for task in tasks],
        seed_parts=[(pool.seed, "eval", suite.name, task.id) for task in tasks],
    )
    graded = await collector.grade(tasks, [_finished(i, one) for i, one in enumerate(found)])
    seconds = round((time.monotonic() - started) / len(graded), 4)
    return [
        {
            **evaluation_row(suite, pool.name, tasks[one.task_index], one, collector.encoder),
            "search_tokens": best.num_tokens,
            "seconds": seconds,
        }
        for one, best in zip(graded, found, strict=True)
    ]


def _finished(task_index: int, found: Found) -> Finished:
    beam = found.beam
    completion = Completion(
        token_ids=beam.token_ids,
        logprobs=np.zeros(len(beam.token_ids), np.float32),  # nobody asks for them
        text=beam.text,
        finish_reason=beam.finish_reason or FinishReason.LENGTH,  # the last step was the last
        policy_version=0,
    )
    return Finished(task_index=task_index, sample_index=0, completion=completion)
