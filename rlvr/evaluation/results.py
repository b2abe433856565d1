"""The summary of an evaluation: each suite's numbers, and what each strategy made of them.

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

__all__ = ["cost_of", "make_summary", "rows_of"]


def make_summary(
    config: EvaluateConfig, suites: Sequence[Suite], rows: Sequence[Row], scores: Sequence[Row]
) -> dict[str, Any]:
    """Of all rows of a finished evaluation, and the scores of best_of_n."""
    metrics: dict[str, dict[str, Any]] = {}
    strategies: dict[str, dict[str, Any]] = {}
    for suite in suites:
        own = {s.pool: rows_of(rows, suite.name, s.pool) for s in config.strategy}
        numbers = {
            pool: summarize_rows(
                some, correct_by=suite.correct_by, profile=config.prompt.answer_style
            )
            for pool, some in own.items()
        }
        metrics[suite.name] = numbers[config.strategy[0].pool]
        strategies[suite.name] = {
            s.name: _of_chosen(s, own[s.pool], scores, numbers[s.pool], suite)
            if s.name == "best_of_n"
            else _of_strategy(s, numbers[s.pool])
            for s in config.strategy
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
        tokens=pool["search_tokens_mean"] or pool["tokens_mean"],
        seconds=seconds / samples,
    )


def _of_chosen(
    strategy: StrategySection,
    rows: Sequence[Row],
    scores: Sequence[Row],
    pool: Mapping[str, Any],
    suite: Suite,
) -> dict[str, Any]:
    """best_of_n: all completions and the scoring are paid for one answer."""
    own = rows_of(scores, suite.name, strategy.name)
    found = best_of_n_metrics(strategy, rows, own, correct_by=suite.correct_by)
    cost = cost_of(
        accuracy=found["accuracy"],
        stderr=found["stderr"],
        samples=pool["num_samples"],
        tokens=pool["num_samples"] * pool["tokens_mean"],
        seconds=(pool["seconds"] + found["seconds"]) / pool["num_tasks"],
    )
    by_step = found["step_correctness"]
    return cost if by_step is None else {**cost, "step_correctness": by_step}


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


def rows_of(rows: Iterable[Row], suite: str, pool: str) -> list[Row]:
    """Those of one suite that were written in one way, or scored by one strategy."""
    return [row for row in rows if row["suite"] == suite and row["strategy"] == pool]
