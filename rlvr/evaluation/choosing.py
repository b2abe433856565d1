"""Best of n over rows that are there: scores on the disk, and the completion that they choose.

rows of a suite --scorer--> scores.jsonl --best score or weighted vote--> one row a task
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rlvr.evaluation.completion_rows import RowKey, key_of
from rlvr.evaluation.eval_config import StrategySection
from rlvr.evaluation.picking import aggregated, best_of, prefixes, weighted_vote
from rlvr.evaluation.scorers import Scored, Scorer
from rlvr.evaluation.suite_metrics import Row, grouped, row_clusters
from rlvr.evaluation.suites import Suite
from rlvr.grpo.held_out_eval import standard_error
from rlvr.run.row_log import RowLog

__all__ = ["chosen", "score_rows"]

ROWS_AT_A_TIME = 64  # what a kill can cost
RIGHT_STEP = 0.5


def score_rows(
    strategy: StrategySection,
    suite: Suite,
    rows: Sequence[Row],
    log: RowLog,
    *,
    scorer: Scorer,
    prompts: Mapping[str, str],
) -> None:
    """Score what is missing; `prompts` are those that the model read, by task id."""
    there = {key_of(row) for row in log.rows}
    left = [row for row in rows if (strategy.name, *key_of(dict(row))[1:]) not in there]
    tasks = {task.id: task for task in suite.tasks}
    for start in range(0, len(left), ROWS_AT_A_TIME):
        some = left[start : start + ROWS_AT_A_TIME]
        started = time.monotonic()
        texts = [list(_texts(strategy, row)) for row in some]
        items = [
            Scored(task=tasks[row["id"]], prompt=prompts[row["id"]], text=text)
            for row, own in zip(some, texts, strict=True)
            for text in own
        ]
        scores = iter(scorer(items))
        taken = [[next(scores) for _ in own] for own in texts]
        seconds = (time.monotonic() - started) / len(some)
        log.append(
            {
                "strategy": strategy.name,
                "suite": suite.name,
                "id": row["id"],
                "sample_index": row["sample_index"],
                "step_scores": own,
                "seconds": round(seconds, 4),
            }
            for row, own in zip(some, taken, strict=True)
        )


def chosen(
    strategy: StrategySection, rows: Sequence[Row], scores: Sequence[Row], *, correct_by: str
) -> dict[str, Any]:
    """How often what was chosen is right, over tasks; and the seconds that scoring took.

    step_correctness: with by_step, the share of all steps whose score is over one half.
    """
    by_key: dict[RowKey, Row] = {key_of(dict(score)): score for score in scores}
    is_right = []
    seconds = 0.0
    for group in grouped(rows):
        own = [by_key[(strategy.name, *key_of(dict(row))[1:])] for row in group]
        seconds += sum(score["seconds"] for score in own)
        values = [aggregated(score["step_scores"], strategy.aggregate) for score in own]
        place: int | None = best_of(values)
        if strategy.vote:
            place = weighted_vote(row_clusters(group, correct_by=correct_by), values)
        is_right.append(place is not None and bool(group[place]["is_right"]))
    shares = np.array(is_right, dtype=float)
    return {
        "accuracy": float(shares.mean()),
        "stderr": standard_error(shares),
        "seconds": seconds,
        "step_correctness": _right_steps(scores) if strategy.by_step else None,
    }


def _right_steps(scores: Sequence[Row]) -> float | None:
    steps = [step for score in scores for step in score["step_scores"] if step is not None]
    return sum(step > RIGHT_STEP for step in steps) / len(steps) if steps else None


def _texts(strategy: StrategySection, row: Row) -> Iterator[str]:
    text = str(row["completion"])
    if strategy.by_step:
        yield from prefixes(text, step_end=strategy.step_end)
    else:
        yield text
