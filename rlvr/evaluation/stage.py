"""`rlvr eval`: engines write what is missing, and the rows become numbers and a report.

inputs --run_writers--> rows.jsonl --strategies--> summary.json, report.md
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import rewards
from rlvr.config.evaluation import EvaluateConfig, StrategySection
from rlvr.disk import written
from rlvr.evaluation.results import make_summary
from rlvr.evaluation.suites import EvaluationInputs, Suite
from rlvr.evaluation.writing import Pool, key_of, write_pool
from rlvr.report.document import to_markdown
from rlvr.report.evaluation import evaluation_report
from rlvr.rollout.requests import SamplingSpec
from rlvr.row_log import RowLog
from rlvr.run_folder import RunFolder, write_json
from rlvr.writers import Writers, run_writers

__all__ = ["run_eval"]


def run_eval(
    config: EvaluateConfig,
    folder: RunFolder,
    inputs: EvaluationInputs,
    *,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Evaluate, from where an interrupted evaluation stopped; returns the summary.

    The caller holds the folder's lock and has claimed it.

    Raises:
        RLVRError: Stopped, a dead actor, or the user's mistake.
    """
    log = RowLog(folder.path / "rows.jsonl")
    if not _is_whole(config, inputs, log):
        if log.rows:
            say(f"going on behind {len(log.rows)} completions")
        work = partial(_write_all, config, inputs, log, say)
        run_writers(config, folder, inputs.writer, work, say=say)
    try:
        summary = make_summary(config, inputs.suites, log.rows)
    finally:
        rewards.shutdown()
    report = to_markdown(evaluation_report(summary, log.rows, config))
    path = folder.path / "report.md"
    with written(path):
        path.write_text(report, encoding="utf-8")
    write_json(folder.summary, summary)
    return summary


async def _write_all(
    config: EvaluateConfig,
    inputs: EvaluationInputs,
    log: RowLog,
    say: Callable[[str], None],
    writers: Writers,
) -> None:
    for strategy in _pools(config):
        for suite in inputs.suites:
            say(f"{suite.name}: {len(suite.tasks)} tasks x {suite.num_samples}, {strategy.pool}")
            await write_pool(
                suite,
                _pool(config, strategy, suite, writers.stop_token_ids),
                log,
                generate=writers.generate,
                graders=writers.graders,
                encoder=writers.encoder,
            )


def _pools(config: EvaluateConfig) -> list[StrategySection]:
    """One strategy for each way of writing."""
    return list({strategy.pool: strategy for strategy in reversed(config.strategy)}.values())[::-1]


def _pool(
    config: EvaluateConfig, strategy: StrategySection, suite: Suite, stop: tuple[int, ...]
) -> Pool:
    return Pool(
        name=strategy.pool,
        cue=strategy.cue if strategy.pool == "cot" else "",
        sampling=SamplingSpec(
            temperature=config.rollout.temperature,
            top_p=config.rollout.top_p,
            max_tokens=suite.max_tokens,
            stop=tuple(config.rollout.stop),
            stop_token_ids=stop,
        ),
        seed=config.seed,
    )


def _is_whole(config: EvaluateConfig, inputs: EvaluationInputs, log: RowLog) -> bool:
    there = {key_of(row) for row in log.rows}
    return all(
        (strategy.pool, suite.name, task.id, k) in there
        for strategy in _pools(config)
        for suite in inputs.suites
        for task in suite.tasks
        for k in range(suite.num_samples)
    )
