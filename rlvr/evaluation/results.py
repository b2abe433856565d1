"""The summary of an evaluation: each suite's numbers, and what each strategy made of them.

{"name", "model", "seed", "protocol": {...},
 "suites":     {suite: {metric: value}},               of the first strategy's completions
 "strategies": {suite: {strategy: {"accuracy", "accuracy_stderr", "samples", "tokens_per_task",
                                   "tokens_per_correct", "seconds_per_task"}}}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlvr.config.evaluation import EvaluateConfig, StrategySection
from rlvr.evaluation.suites import Suite
from rlvr.evaluation.summary import Row, robustness_drop, summarize_rows

__all__ = ["cost_of", "make_summary"]


def make_summary(
    config: EvaluateConfig, suites: Sequence[Suite], rows: Sequence[Row]
) -> dict[str, Any]:
    """Of all rows of a finished evaluation."""
    metrics: dict[str, dict[str, Any]] = {}
    strategies: dict[str, dict[str, Any]] = {}
    for suite in suites:
        by_pool = {
            strategy.pool: summarize_rows(
                _rows_of(rows, suite.name, strategy.pool),
                correct_by=suite.correct_by,
                profile=config.prompt.answer_style,
            )
            for strategy in config.strategy
        }
        metrics[suite.name] = by_pool[config.strategy[0].pool]
        strategies[suite.name] = {
            strategy.name: _of_strategy(strategy, by_pool[strategy.pool])
            for strategy in config.strategy
        }
    _add_robustness(suites, metrics)
    return {
        "name": config.name,
        "model": config.model.path,
        "seed": config.seed,
        "protocol": _protocol(config, suites),
        "suites": metrics,
        "strategies": strategies,
    }


def cost_of(
    *,
    accuracy: float,
    stderr: float,
    samples: int,
    tokens: float,
    seconds: float,
) -> dict[str, Any]:
    """A row of the table of strategies; tokens and seconds are those of one answered task."""
    return {
        "accuracy": accuracy,
        "accuracy_stderr": stderr,
        "samples": samples,
        "tokens_per_task": tokens,
        "tokens_per_correct": tokens / accuracy if accuracy else None,
        "seconds_per_task": seconds,
    }


def _of_strategy(strategy: StrategySection, pool: Mapping[str, Any]) -> dict[str, Any]:
    samples, seconds = pool["num_samples"], pool["seconds"] / pool["num_tasks"]
    if strategy.name == "majority":
        return cost_of(
            accuracy=pool["cons_at_k"] or 0.0,
            stderr=pool["cons_at_k_stderr"] or 0.0,
            samples=samples,
            tokens=samples * pool["tokens_mean"],
            seconds=seconds,
        )
    return cost_of(
        accuracy=pool["pass_at_1"],
        stderr=pool["pass_at_1_stderr"],
        samples=1,
        tokens=pool["tokens_mean"],
        seconds=seconds / samples,
    )


def _add_robustness(suites: Iterable[Suite], metrics: dict[str, dict[str, Any]]) -> None:
    for suite in suites:
        if suite.noisy_of is not None:
            clean, noisy = metrics[suite.noisy_of]["pass_at_1"], metrics[suite.name]["pass_at_1"]
            metrics[suite.name]["robustness_drop"] = robustness_drop(clean, noisy)


def _protocol(config: EvaluateConfig, suites: Iterable[Suite]) -> dict[str, Any]:
    rollout = config.rollout
    return {
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "max_tokens": {suite.name: suite.max_tokens for suite in suites},
        "samples": {suite.name: suite.num_samples for suite in suites},
        "template": config.prompt.template,
        "thinking_budget": config.thinking_budget,
    }


def _rows_of(rows: Iterable[Row], suite: str, pool: str) -> list[Row]:
    return [row for row in rows if row["suite"] == suite and row["strategy"] == pool]
