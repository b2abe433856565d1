r"""Choose among the completions of a task: majority vote, best score, weighted vote.

majority vote  over answers that are equal by value: "2/4", "1/2", "0.5", "3" -> 1/2, cons@k
               (Wang et al., arXiv 2203.11171; DeepSeek-R1, section 3)
best score     the completion with it (Cobbe et al., arXiv 2110.14168; Snell et al., 2408.03314)
weighted vote  the answer with the largest sum of scores (Li et al., arXiv 2206.02336)
aggregation    of step scores to one score: last, min or prod, as in huggingface/search-and-learn

A completion without an answer has no vote; of answers with equally many votes the first one wins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rewards import grade_choice
from rewards.math.extract import StatedAnswer, read_answer
from rewards.math.math_accuracy import grade_accuracies
from rewards.math.plain_numbers import plain_number
from rewards.transcript import as_turn
from rlvr.evaluation.completion_rows import RowKey, key_of
from rlvr.evaluation.eval_config import StrategySection
from rlvr.evaluation.scorers import Scorer, ScorerInput
from rlvr.evaluation.suites import Suite
from rlvr.grpo.held_out_eval import standard_error
from rlvr.run.row_log import RowLog

__all__ = [
    "Aggregation",
    "AnswerCluster",
    "Row",
    "aggregate_scores",
    "argmax",
    "best_of_n_metrics",
    "clusters_of",
    "most_voted",
    "rows_by_task",
    "score_rows",
    "stated_answer",
    "step_prefixes",
    "vote_clusters",
    "weighted_vote",
]

Aggregation = Literal["last", "min", "prod"]
Row = Mapping[str, Any]

ROWS_PER_BATCH = 64  # scores are written after each batch, so an interruption loses at most one
CORRECT_STEP = 0.5  # a step with a higher score counts as correct


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCluster:
    """Completions with the same answer."""

    value: str  # a plain number in lowest terms, or else the first spelling
    members: tuple[int, ...]  # indices of the completions, ascending


def stated_answer(text: str, *, think_prefilled: bool, is_choice: bool = False) -> str | None:
    """Return the answer of a completion, as the rewards read it, or None."""
    if is_choice:
        chosen = [
            c for c in "ABCDEFGHIJ" if grade_choice(text, c, think_prefilled=think_prefilled).value
        ]
        return chosen[0] if len(chosen) == 1 else None
    answer = read_answer(as_turn(text), think_prefilled)
    return answer.text.strip() if isinstance(answer, StatedAnswer) else None


def clusters_of(answers: Sequence[str | None]) -> list[AnswerCluster]:
    """Cluster equal answers, in the order of their first members."""
    spellings: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        if answer:
            number = plain_number(answer)
            value = answer if number is None else str(number)
            spellings.setdefault(value, []).append(i)
    members: dict[str, list[int]] = {}
    for value, indices in spellings.items():
        members.setdefault(_equal_answer(value, list(members)), []).extend(indices)
    return [
        AnswerCluster(value=value, members=tuple(sorted(indices)))
        for value, indices in members.items()
    ]


def most_voted(
    clusters: Sequence[AnswerCluster], *, weights: Mapping[int, float] | None = None
) -> AnswerCluster | None:
    """Return the cluster with the most votes, or with the largest sum of weights."""
    if not clusters:
        return None
    votes = [
        float(len(c.members)) if weights is None else sum(weights[i] for i in c.members)
        for c in clusters
    ]
    return clusters[votes.index(max(votes))]


def _equal_answer(value: str, known: Sequence[str]) -> str:
    """Return the first of `known` that `accuracy` grades as equal, or `value` itself.

    Two plain numbers are in lowest terms already and need no grading.
    """
    candidates = [k for k in known if plain_number(value) is None or plain_number(k) is None]
    if not candidates:
        return value
    is_balanced = value.count("{") == value.count("}")
    stated = rf"\boxed{{{value}}}" if is_balanced else value
    completions = [f"<answer>{stated}</answer>"] * len(candidates)
    grades = grade_accuracies(completions, candidates, [False] * len(candidates))
    return next((k for k, grade in zip(candidates, grades, strict=True) if grade.value), value)


def rows_by_task(rows: Iterable[Row]) -> list[list[Row]]:
    """Group rows by task, sorted by sample index."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["id"], []).append(row)
    return [sorted(group, key=lambda row: row["sample_index"]) for group in groups.values()]


def vote_clusters(group: Sequence[Row], *, correct_by: str) -> list[AnswerCluster]:
    """Cluster the completions of one task by their answers."""
    is_choice = correct_by == "multiple_choice"
    return clusters_of(
        [
            stated_answer(
                row["completion"], think_prefilled=row["think_prefilled"], is_choice=is_choice
            )
            for row in group
        ]
    )


def aggregate_scores(step_scores: Sequence[float | None], how: Aggregation) -> float:
    """Reduce step scores to one; -inf if there is none or one of them is missing."""
    scores = [score for score in step_scores if score is not None]
    if not scores or len(scores) < len(step_scores):
        return -math.inf
    match how:
        case "last":
            return scores[-1]
        case "min":
            return min(scores)
        case "prod":
            return math.prod(scores)


def argmax(scores: Sequence[float]) -> int:
    """Return the index of the largest score; of equal ones the first."""
    return max(range(len(scores)), key=lambda i: scores[i])


def weighted_vote(clusters: Sequence[AnswerCluster], scores: Sequence[float]) -> int | None:
    """Return the best completion of the answer with the largest sum of scores.

    Negative scores count as 0. None: no completion states an answer.
    """
    winner = most_voted(clusters, weights={i: max(score, 0.0) for i, score in enumerate(scores)})
    return None if winner is None else max(winner.members, key=lambda i: (scores[i], -i))


def step_prefixes(text: str, *, step_end: str) -> list[str]:
    """Return the text up to the end of each step: "a\\n\\nb" -> ["a\\n\\n", "a\\n\\nb"]."""
    steps = text.split(step_end)
    ends = [step_end.join(steps[: i + 1]) + step_end for i in range(len(steps) - 1)]
    return [*ends, text] if steps[-1].strip() or not ends else ends


def score_rows(
    strategy: StrategySection,
    suite: Suite,
    rows: Sequence[Row],
    log: RowLog,
    *,
    scorer: Scorer,
    prompts: Mapping[str, str],
) -> None:
    """Score the rows that have no scores yet; `prompts`: task id -> prompt after the template."""
    on_disk = {key_of(row) for row in log.rows}
    missing = [row for row in rows if _score_key(strategy, row) not in on_disk]
    tasks = {task.id: task for task in suite.tasks}
    for start in range(0, len(missing), ROWS_PER_BATCH):
        batch = missing[start : start + ROWS_PER_BATCH]
        started = time.monotonic()
        texts = [
            step_prefixes(row["completion"], step_end=strategy.step_end)
            if strategy.by_step
            else [row["completion"]]
            for row in batch
        ]
        scores = iter(
            scorer(
                [
                    ScorerInput(task=tasks[row["id"]], prompt=prompts[row["id"]], text=text)
                    for row, own in zip(batch, texts, strict=True)
                    for text in own
                ]
            )
        )
        seconds = round((time.monotonic() - started) / len(batch), 4)
        log.append(
            {
                "strategy": strategy.name,
                "suite": suite.name,
                "id": row["id"],
                "sample_index": row["sample_index"],
                "step_scores": [next(scores) for _ in own],
                "seconds": seconds,
            }
            for row, own in zip(batch, texts, strict=True)
        )


def best_of_n_metrics(
    strategy: StrategySection, rows: Sequence[Row], scores: Sequence[Row], *, correct_by: str
) -> dict[str, Any]:
    """Return accuracy and stderr over tasks, and the seconds that scoring took.

    step_correctness: with by_step, the share of all steps that the scorer takes for correct.
    """
    by_key = {key_of(score): score for score in scores}
    is_right = []
    seconds = 0.0
    for group in rows_by_task(rows):
        own = [by_key[_score_key(strategy, row)] for row in group]
        seconds += sum(score["seconds"] for score in own)
        values = [aggregate_scores(score["step_scores"], strategy.aggregate) for score in own]
        index: int | None = argmax(values)
        if strategy.vote:
            index = weighted_vote(vote_clusters(group, correct_by=correct_by), values)
        is_right.append(index is not None and bool(group[index]["is_right"]))
    by_task = np.array(is_right, dtype=float)
    steps = [step for score in scores for step in score["step_scores"] if step is not None]
    return {
        "accuracy": float(by_task.mean()),
        "stderr": standard_error(by_task),
        "seconds": seconds,
        "step_correctness": sum(step > CORRECT_STEP for step in steps) / len(steps)
        if strategy.by_step and steps
        else None,
    }


def _score_key(strategy: StrategySection, row: Row) -> RowKey:
    return (strategy.name, *key_of(row)[1:])
