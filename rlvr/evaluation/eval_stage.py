"""`rlvr eval`: evaluate a model on suites of tasks."""

from __future__ import annotations

from rlvr.evaluation.eval_config import EvaluateConfig
from rlvr.evaluation.suites import EvaluationInputs, check_eval, keep_fitting
from rlvr.run.run_folder import RunFolder
from rlvr.run.stage_protocol import Stage

__all__ = ["STAGE"]


def _preflight(
    config: EvaluateConfig, folder: RunFolder, inputs: EvaluationInputs
) -> EvaluationInputs:
    from rlvr.grpo.preflight import run_preflight

    sections = {f"suites.{name}.tasks": suite.tasks for name, suite in config.suites.items()}
    checked = run_preflight(config, folder, inputs.generation, sections)
    return keep_fitting(config, inputs.suites, checked)


def _run(config: EvaluateConfig, folder: RunFolder, inputs: EvaluationInputs) -> None:
    from rlvr.evaluation.eval_run import run_eval

    run_eval(config, folder, inputs)


def _closing(config: EvaluateConfig, folder: RunFolder) -> str:
    report = folder.path / "report.md"
    return (
        f"{report.read_text(encoding='utf-8')}\n"
        f"rows    {folder.path / 'rows.jsonl'}\nsummary {folder.summary}\nreport  {report}"
    )


STAGE = Stage(
    schema=EvaluateConfig,
    check=check_eval,
    preflight=_preflight,
    run=_run,
    closing=_closing,
    work=("rows.jsonl",),
)
