"""`rlvr compare`: several evaluations in one report, evaluating models first where needed."""

from __future__ import annotations

import re
from pathlib import Path

from rlvr.config import load_config
from rlvr.errors import ConfigError
from rlvr.evaluation.eval_config import CompareConfig
from rlvr.evaluation.eval_report import FinishedEvaluation, comparison_report
from rlvr.evaluation.eval_stage import STAGE as EVAL_STAGE
from rlvr.report.document import write_report
from rlvr.run.manifest import make_manifest
from rlvr.run.row_log import RowLog
from rlvr.run.run_folder import RunFolder, RunStatus, read_json, write_json
from rlvr.run.stage_protocol import Stage, is_done, run_stage

__all__ = ["STAGE"]


def _check(config: CompareConfig) -> None:
    for label, path in config.folders.items():
        _read(label, Path(path))
    for label in config.models:  # before the folder is claimed
        evaluation = load_config(EVAL_STAGE.schema, *_evaluation(config, label))
        if not is_done(EVAL_STAGE, evaluation):
            EVAL_STAGE.check(evaluation)


def _run(config: CompareConfig, folder: RunFolder, inputs: None) -> None:
    folders = {**config.folders, **{label: _evaluate(config, label) for label in config.models}}
    evaluations = [_read(label, Path(path)) for label, path in folders.items()]
    write_report(folder.path, comparison_report(evaluations, config), title=config.title)
    files = {f"folders.{label}": f"{path}/summary.json" for label, path in folders.items()}
    write_json(folder.manifest, make_manifest(config, inputs=files))
    write_json(folder.summary, {one.label: one.summary["suites"] for one in evaluations})


def _evaluate(config: CompareConfig, label: str) -> str:
    """Evaluate a model, or resume its evaluation; return the run folder."""
    recipe, overrides = _evaluation(config, label)
    run_stage(EVAL_STAGE, recipe, overrides)
    return str(load_config(EVAL_STAGE.schema, recipe, overrides).run_dir)


def _evaluation(config: CompareConfig, label: str) -> tuple[str, list[str]]:
    """Return recipe and overrides of a model's evaluation."""
    assert config.evaluation is not None, "the config is checked"
    name = f"{config.name}-{re.sub(r'[^A-Za-z0-9._-]', '-', label)}"
    overrides = {"name": name, "output_dir": config.output_dir, "model.path": config.models[label]}
    return config.evaluation, [f"{key}={value}" for key, value in overrides.items()]


def _read(label: str, path: Path) -> FinishedEvaluation:
    """Read an evaluation. Raises ConfigError if it is missing, not finished, or another stage's."""
    folder, key = RunFolder(path), f"folders.{label}"
    if folder.status is RunStatus.NEW:
        raise ConfigError(f"{key}: {path} is not a run folder; give the folder of an `rlvr eval`")
    if folder.status is not RunStatus.FINISHED:
        raise ConfigError(f"{key}: {path} is not finished; the same `rlvr eval` resumes it")
    summary = read_json(folder.summary)
    rows = path / "rows.jsonl"
    if "suites" not in summary or not rows.exists():
        raise ConfigError(f"{key}: {path} is the folder of another stage, not of an `rlvr eval`")
    return FinishedEvaluation(label=label, summary=summary, rows=RowLog(rows).rows)


def _closing(config: CompareConfig, folder: RunFolder) -> str:
    markdown, html = folder.path / "report.md", folder.path / "report.html"
    return f"{markdown.read_text(encoding='utf-8')}\nreport  {markdown}\nreport  {html}"


STAGE = Stage(
    schema=CompareConfig,
    check=_check,
    run=_run,
    closing=_closing,
    needs_environment=False,
    is_repeatable=True,  # the report is cheap, and the evaluations may have changed
)
