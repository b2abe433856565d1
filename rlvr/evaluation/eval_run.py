"""Run an evaluation: generate the missing completions, score them, and write summary and report.

inputs --engines--> rows.jsonl --scorers--> scores.jsonl --> summary.json, report.{md,html}
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import rewards
import sandbox
from rlvr.data.inputs import hold_inputs, make_encoder
from rlvr.data.model_copy import MODEL_COPY, remove_copy
from rlvr.evaluation.beam_search import search_suite
from rlvr.evaluation.budget import ThinkingBudget
from rlvr.evaluation.completion_rows import CompletionPool, generate_pool, key_of
from rlvr.evaluation.eval_config import EvaluateConfig, StrategySection
from rlvr.evaluation.eval_report import evaluation_report
from rlvr.evaluation.scorers import make_scorer
from rlvr.evaluation.selection import score_rows
from rlvr.evaluation.suite_metrics import make_summary, rows_of
from rlvr.evaluation.suites import EvaluationInputs
from rlvr.grpo.generation_session import GenerationSession, run_session
from rlvr.report.document import write_report
from rlvr.rollout.engine_requests import SamplingSpec
from rlvr.run.row_log import RowLog
from rlvr.run.run_folder import RunFolder, write_json

__all__ = ["run_eval"]

Say = Callable[[str], None]

PROGRESS_S = 15.0  # between two progress lines


def run_eval(
    config: EvaluateConfig, folder: RunFolder, inputs: EvaluationInputs, *, say: Say = print
) -> dict[str, Any]:
    """Evaluate, or resume an interrupted evaluation; return the summary.

    The caller holds the folder's lock and has claimed it.

    Raises:
        RLVRError: the user stopped the run, an actor died, or the recipe is wrong.
    """
    inputs = replace(inputs, generation=hold_inputs(config, inputs.generation, say=say))
    log = RowLog(folder.path / "rows.jsonl")
    if not _is_complete(config, inputs, log):
        if log.rows:
            say(f"resuming after {len(log.rows)} completions")
        work = partial(_generate_all, config, inputs, log, say)
        run_session(_with_step_ends(config), folder, inputs.generation, work, say=say)
    try:
        scores = RowLog(folder.path / "scores.jsonl")
        _score_all(config, inputs, log, scores, say)
        summary = make_summary(config, inputs.suites, log.rows, scores.rows)
    finally:
        rewards.shutdown()
        sandbox.shutdown()
    write_report(folder.path, evaluation_report(summary, log.rows, config), title=config.name)
    write_json(folder.summary, summary)
    remove_copy(folder.path / MODEL_COPY)
    return summary


async def _generate_all(
    config: EvaluateConfig,
    inputs: EvaluationInputs,
    log: RowLog,
    say: Say,
    session: GenerationSession,
) -> None:
    """Generate and grade the missing completions of each pool and suite."""
    encoder = session.encoder
    decode = partial(encoder.tokenizer.decode, skip_special_tokens=True)
    for strategy, suite in product(_pools(config), inputs.suites):
        num_samples = suite.samples_of(strategy.pool)
        say(f"{suite.name}: {len(suite.tasks)} tasks x {num_samples}, {strategy.pool}")
        pool = CompletionPool(
            name=strategy.pool,
            cue=strategy.cue if strategy.pool == "cot" else "",
            sampling=SamplingSpec(
                temperature=config.rollout.temperature,
                top_p=config.rollout.top_p,
                max_tokens=suite.max_tokens,
                stop=tuple(config.rollout.stop),
                stop_token_ids=session.stop_token_ids,
            ),
            seed=config.seed,
        )
        collector = session.collector
        if strategy.name == "beam":
            scorer = make_scorer(strategy, think_prefilled=encoder.think_prefilled)
            await search_suite(
                suite, pool, log, collector, strategy=strategy, scorer=scorer, decode=decode
            )
            continue
        closed: Collection[tuple[int, int]] = ()
        if config.thinking_budget is not None and config.thinking_budget < suite.max_tokens:
            budget = ThinkingBudget(
                engines=session.engines,
                budget=config.thinking_budget,
                cue_ids=encoder.completion_ids(config.budget_cue),
                decode=decode,
                think_prefilled=encoder.think_prefilled,
            )
            collector, closed = replace(collector, engines=budget), budget.closed
        await generate_pool(suite, pool, log, collector, closed=closed, on_rows=_progress(say))


def _progress(say: Say) -> Callable[[int, int], None]:
    """Return a callback that prints a progress line every PROGRESS_S seconds."""
    started = last = time.monotonic()

    def on_rows(num_done: int, num_requested: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > PROGRESS_S:
            left_s = (now - started) / num_done * (num_requested - num_done)
            say(f"  {num_done} of {num_requested} completions, {left_s / 60:.1f} minutes left")
            last = now

    return on_rows


def _score_all(
    config: EvaluateConfig, inputs: EvaluationInputs, log: RowLog, scores: RowLog, say: Say
) -> None:
    """Score completions for best_of_n; a beam search scores while it runs."""
    strategies = [strategy for strategy in config.strategy if strategy.name == "best_of_n"]
    if not strategies:
        return
    encoder = inputs.generation.encoder or make_encoder(config, inputs.generation)
    for strategy in strategies:
        scorer = make_scorer(strategy, think_prefilled=encoder.think_prefilled)
        for suite in inputs.suites:
            say(f"{suite.name}: scoring by {strategy.scorer}")
            rows = rows_of(log.rows, suite.name, strategy.pool)
            prompts = {task.id: encoder.text(task) for task in suite.tasks}
            score_rows(strategy, suite, rows, scores, scorer=scorer, prompts=prompts)


def _pools(config: EvaluateConfig) -> list[StrategySection]:
    """Return the first strategy of each pool of completions."""
    return list({strategy.pool: strategy for strategy in reversed(config.strategy)}.values())[::-1]


def _with_step_ends(config: EvaluateConfig) -> EvaluateConfig:
    """Add the step ends to the stop strings: engines prepare for stop strings when they start."""
    ends = [strategy.step_end for strategy in config.strategy if strategy.name == "beam"]
    rollout = config.rollout.model_copy(update={"stop": [*config.rollout.stop, *ends]})
    return config.model_copy(update={"rollout": rollout})


def _is_complete(config: EvaluateConfig, inputs: EvaluationInputs, log: RowLog) -> bool:
    on_disk = {key_of(row) for row in log.rows}
    return all(
        (strategy.pool, suite.name, task.id, k) in on_disk
        for strategy in _pools(config)
        for suite in inputs.suites
        for task in suite.tasks
        for k in range(suite.samples_of(strategy.pool))
    )
