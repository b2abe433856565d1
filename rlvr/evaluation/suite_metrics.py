"""The summary of an evaluation: metrics of each suite, accuracy and cost of each strategy.

{"name", "model", "seed", "protocol": {...},
 "suites":     {suite: {metric: value}},               of the first strategy's completions
 "strategies": {suite: {strategy: {"accuracy", "accuracy_stderr", "samples", "tokens_per_task",
                                   "tokens_per_correct", "seconds_per_task"}}}}
                                   with by_step also "step_correctness"

docs/evaluation.md defines the metrics. Shares and means are over completions unless noted
otherwise; standard errors are over tasks, because completions of one task are not independent.
None: nothing was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rewards import grade_format
from rlvr.data.cleaning.filters import repetition_rate
from rlvr.data.reasoning_tags import Parts, num_reflection_words
from rlvr.data.samples import language_of, last_turn
from rlvr.evaluation.eval_config import EvaluateConfig, StrategySection
from rlvr.evaluation.selection import (
    Row,
    best_of_n_metrics,
    most_voted,
    rows_by_task,
    vote_clusters,
)
from rlvr.evaluation.suites import Suite
from rlvr.evaluation.text_metrics import (
    bullet_frac,
    check_steps,
    key_point_coverage,
    language_mixing,
    num_paragraphs,
    readability_flags,
)
from rlvr.grpo.held_out_eval import pass_at_k, reported_ks, standard_error

__all__ = ["make_summary", "robustness_drop", "rows_of", "summarize_rows"]

MIXED_FRAC = 0.1  # a completion with a larger share of foreign words counts as mixed


def make_summary(
    config: EvaluateConfig, suites: Sequence[Suite], rows: Sequence[Row], scores: Sequence[Row]
) -> dict[str, Any]:
    """Summarize all rows of an evaluation; `scores` are those of best_of_n."""
    metrics: dict[str, dict[str, Any]] = {}
    strategies: dict[str, dict[str, Any]] = {}
    for suite in suites:
        pools = {s.pool: rows_of(rows, suite.name, s.pool) for s in config.strategy}
        by_pool = {
            name: summarize_rows(
                pool, correct_by=suite.correct_by, profile=config.prompt.answer_style
            )
            for name, pool in pools.items()
        }
        metrics[suite.name] = by_pool[config.strategy[0].pool]
        strategies[suite.name] = {
            s.name: _strategy_metrics(s, suite, by_pool[s.pool], pools[s.pool], scores)
            for s in config.strategy
        }
    for suite in suites:
        if suite.noisy_of is not None:
            clean, noisy = metrics[suite.noisy_of]["pass_at_1"], metrics[suite.name]["pass_at_1"]
            metrics[suite.name]["robustness_drop"] = robustness_drop(clean, noisy)
    return {
        "name": config.name,
        "model": config.model.path,
        "seed": config.seed,
        "protocol": {
            "temperature": config.rollout.temperature,
            "top_p": config.rollout.top_p,
            "max_tokens": {suite.name: suite.max_tokens for suite in suites},
            "samples": {suite.name: suite.num_samples for suite in suites},
            "template": config.prompt.template,
            "thinking_budget": config.thinking_budget,
        },
        "suites": metrics,
        "strategies": strategies,
    }


def _strategy_metrics(
    strategy: StrategySection,
    suite: Suite,
    metrics: Mapping[str, Any],
    rows: Sequence[Row],
    scores: Sequence[Row],
) -> dict[str, Any]:
    """Return accuracy and costs; tokens and seconds are per answered task.

    majority and best_of_n need all completions of a task, and best_of_n their scores as well.
    """
    samples, tokens, seconds = metrics["num_samples"], metrics["tokens_mean"], metrics["seconds"]
    step_correctness = None
    if strategy.name == "majority":
        accuracy, stderr = metrics["cons_at_k"] or 0.0, metrics["cons_at_k_stderr"] or 0.0
    elif strategy.name == "best_of_n":
        own = rows_of(scores, suite.name, strategy.name)
        found = best_of_n_metrics(strategy, rows, own, correct_by=suite.correct_by)
        accuracy, stderr = found["accuracy"], found["stderr"]
        step_correctness = found["step_correctness"]
        seconds += found["seconds"]
    else:
        accuracy, stderr = metrics["pass_at_1"], metrics["pass_at_1_stderr"]
        tokens = metrics["search_tokens_mean"] or tokens
        samples, seconds = 1, seconds / samples
    return {
        "accuracy": accuracy,
        "accuracy_stderr": stderr,
        "samples": samples,
        "tokens_per_task": samples * tokens,
        "tokens_per_correct": samples * tokens / accuracy if accuracy else None,
        "seconds_per_task": seconds / metrics["num_tasks"],
        **({} if step_correctness is None else {"step_correctness": step_correctness}),
    }


def rows_of(rows: Iterable[Row], suite: str, strategy: str) -> list[Row]:
    """Return the rows of one suite and strategy (or pool of completions)."""
    return [row for row in rows if (row["suite"], row["strategy"]) == (suite, strategy)]


def summarize_rows(rows: Sequence[Row], *, correct_by: str, profile: str) -> dict[str, Any]:
    """Return all metrics of one suite and pool; `profile` is that of think_format."""
    groups = rows_by_task(rows)
    right = [[bool(row["is_right"]) for row in group] for group in groups]
    return {
        "num_tasks": len(groups),
        "num_samples": max(map(len, right)),
        **_accuracy(right),
        **_votes(groups, correct_by),
        **_lengths(rows),
        **_format(groups, profile),
        "truncated_frac": _mean(row["finish_reason"] == "length" for row in rows),
        "think_frac": _mean(bool(row["reasoning_content"]) for row in rows),
        "budget_closed_frac": _mean(bool(row.get("budget_closed")) for row in rows),
        **_text_metrics(rows),
        **_steps_and_points(rows),
        "rewards": _reward_means(rows, without=correct_by),
    }


def robustness_drop(clean: float, noisy: float) -> float | None:
    """Return (acc_clean - acc_noisy) / acc_clean; None if acc_clean is 0."""
    return (clean - noisy) / clean if clean else None


def _reward_means(rows: Sequence[Row], *, without: str) -> dict[str, float]:
    """Return the mean of every other reward over the completions that it graded."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row["scores"].items():
            if name != without and value is not None:
                values.setdefault(name, []).append(value)
    return {name: _mean(graded) for name, graded in values.items()}


def _accuracy(right: Sequence[Sequence[bool]]) -> dict[str, Any]:
    by_task = np.array([sum(row) / len(row) for row in right])
    return {
        "pass_at_1": float(by_task.mean()),
        "pass_at_1_stderr": standard_error(by_task),
        **{
            f"pass_at_{k}": float(np.mean([pass_at_k(len(row), sum(row), k) for row in right]))
            for k in reported_ks(min(map(len, right)))
        },
    }


def _votes(groups: Sequence[Sequence[Row]], correct_by: str) -> dict[str, Any]:
    """Return cons@k; None for tasks without an answer column, such as programs."""
    if not any("answer" in row for group in groups for row in group):
        return {"cons_at_k": None, "cons_at_k_stderr": None}
    winners = [most_voted(vote_clusters(group, correct_by=correct_by)) for group in groups]
    is_right = np.array(
        [
            winner is not None and bool(group[winner.members[0]]["is_right"])
            for group, winner in zip(groups, winners, strict=True)
        ],
        dtype=float,
    )
    return {"cons_at_k": float(is_right.mean()), "cons_at_k_stderr": standard_error(is_right)}


def _lengths(rows: Sequence[Row]) -> dict[str, Any]:
    num_tokens = sum(row["num_tokens"] for row in rows)
    num_right = sum(row["is_right"] for row in rows)
    return {
        "tokens": num_tokens,
        "tokens_mean": num_tokens / len(rows),
        "search_tokens_mean": _mean(row["search_tokens"] for row in rows)
        if "search_tokens" in rows[0]
        else None,
        "tokens_per_correct": num_tokens / num_right if num_right else None,
        "thought_tokens_mean": _mean(row["thought_tokens"] for row in rows),
        "answer_tokens_mean": _mean(row["answer_tokens"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 2),
    }


def _format(groups: Sequence[Sequence[Row]], profile: str) -> dict[str, Any]:
    """Return the share of completions in the format that the prompt asks for."""

    def is_formed(row: Row) -> bool:
        prefilled = row["think_prefilled"]
        grade = grade_format(row["completion"], profile=profile, think_prefilled=prefilled)
        return grade.value == 1.0

    by_task = np.array([_mean(map(is_formed, group)) for group in groups])
    return {"format_frac": float(by_task.mean()), "format_stderr": standard_error(by_task)}


def _text_metrics(rows: Sequence[Row]) -> dict[str, Any]:
    """Return metrics of rlvr.evaluation.text_metrics; language mixing is that of the reasoning."""
    flags, mixing = [], []
    for row in rows:
        language = str(row.get("language") or language_of({"prompt": last_turn(row["prompt"])}))
        parts = Parts(row["reasoning_content"], row["content"])
        flags.append(readability_flags(parts, language=language))
        mixing.append(language_mixing(row["reasoning_content"] or row["completion"], language))
    known = [share for share in mixing if share is not None]
    return {
        "repetition_mean": _mean(repetition_rate(row["completion"]) for row in rows),
        "language_mixing_mean": _mean(known) if known else None,
        "mixed_frac": _mean(share > MIXED_FRAC for share in known) if known else None,
        "reflection_words_mean": _mean(num_reflection_words(row["completion"]) for row in rows),
        "bullet_frac": _mean(bullet_frac(row["content"]) for row in rows),
        "paragraphs_mean": _mean(num_paragraphs(row["content"]) for row in rows),
        "readable_frac": _mean(not any(raised.values()) for raised in flags),
        "flags": {name: _mean(raised[name] for raised in flags) for name in flags[0]},
    }


def _steps_and_points(rows: Sequence[Row]) -> dict[str, Any]:
    """Return right steps / steps over all completions, and the mean coverage of key points."""
    steps = [is_right for row in rows for is_right in check_steps(row["completion"])]
    covered = [
        key_point_coverage(row["completion"], row["key_points"])
        for row in rows
        if row.get("key_points")
    ]
    return {
        "step_correctness": sum(steps) / len(steps) if steps else None,
        "num_steps": len(steps),
        "key_point_coverage": _mean(covered) if covered else None,
    }


def _mean(values: Iterable[Any]) -> float:
    return float(np.mean([float(value) for value in values]))
