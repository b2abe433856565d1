"""`rlvr eval`: evaluate a model on suites of tasks."""

from __future__ import annotations

from rlvr.evaluation.eval_config import EvaluateConfig
from rlvr.evaluation.suites import EvaluationInputs, check_eval
from rlvr.run.run_folder import RunFolder
from rlvr.run.stage_protocol import Stage

__all__ = ["STAGE"]


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
    schema=EvaluateConfig, check=check_eval, run=_run, closing=_closing, work=("rows.jsonl",)
)
