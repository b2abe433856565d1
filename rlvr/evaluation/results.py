"""The summary of an evaluation: metrics of each suite, accuracy and cost of each strategy.

{"name", "model", "seed", "protocol": {...},
 "suites":     {suite: {metric: value}},               of the first strategy's completions
 "strategies": {suite: {strategy: {"accuracy", "accuracy_stderr", "samples", "tokens_per_task",
                                   "tokens_per_correct", "seconds_per_task"}}}}
                                   with by_step also "step_correctness"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlvr.evaluation.best_of_n import best_of_n_metrics
from rlvr.evaluation.eval_config import EvaluateConfig, StrategySection
from rlvr.evaluation.suite_metrics import Row, robustness_drop, summarize_rows
from rlvr.evaluation.suites import Suite

__all__ = ["make_summary", "rows_of"]


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
