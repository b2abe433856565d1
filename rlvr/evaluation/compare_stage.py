"""`rlvr compare`: several evaluations in one table, the same prompts side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rlvr.errors import ConfigError
from rlvr.evaluation.eval_config import CompareConfig
from rlvr.evaluation.eval_stage import STAGE as EVAL_STAGE
from rlvr.evaluation.side_by_side import Evaluated, comparison_report
from rlvr.report.document import to_markdown
from rlvr.report.html_page import to_html
from rlvr.run.manifest import make_manifest
from rlvr.run.row_log import RowLog
from rlvr.run.run_folder import RunFolder, RunStatus, read_json, write_json, written
from rlvr.run.stage_protocol import Stage, run_stage

__all__ = ["STAGE", "read_evaluations"]


def _check(config: CompareConfig) -> None:
    read_evaluations(config.folders)


def _run(config: CompareConfig, folder: RunFolder, inputs: None) -> None:
    """Evaluate the models that are not evaluated yet, then write the report."""
    folders = {**config.folders, **{label: _evaluated(config, label) for label in config.models}}
    evaluations = read_evaluations(folders)
    blocks = comparison_report(evaluations, config)
    texts = {"report.md": to_markdown(blocks), "report.html": to_html(blocks, title=config.title)}
    for name, text in texts.items():
        with written(folder.path / name):
            (folder.path / name).write_text(text, encoding="utf-8")
    files = {f"folders.{k}": f"{path}/summary.json" for k, path in folders.items()}
    write_json(folder.manifest, make_manifest(config, inputs=files))
    write_json(folder.summary, {one.label: one.summary["suites"] for one in evaluations})


def _evaluated(config: CompareConfig, label: str) -> str:
    """Evaluate a model, or resume its evaluation; return the run folder."""
    name = f"{config.name}-{re.sub(r'[^A-Za-z0-9._-]', '-', label)}"
    assert config.evaluation is not None, "the config is checked"
    overrides = [
        f"name={name}",
        f"output_dir={config.output_dir}",
        f"model.path={config.models[label]}",
    ]
    run_stage(EVAL_STAGE, config.evaluation, overrides)
    return str(Path(config.output_dir) / name)


def _closing(config: CompareConfig, folder: RunFolder) -> str:
    markdown, html = folder.path / "report.md", folder.path / "report.html"
    return f"{markdown.read_text(encoding='utf-8')}\nreport  {markdown}\nreport  {html}"


def read_evaluations(folders: Mapping[str, str], *, key: str = "folders") -> list[Evaluated]:
    """One for each label, in order.

    Raises:
        ConfigError: a folder that is not there, not finished, or of another stage.
    """
    return [_read(label, Path(path), key=f"{key}.{label}") for label, path in folders.items()]


def _read(label: str, path: Path, *, key: str) -> Evaluated:
    folder = RunFolder(path)
    if folder.status is RunStatus.NEW:
        raise ConfigError(f"{key}: {path} is no run folder; give the folder of an `rlvr eval`")
    if folder.status is not RunStatus.FINISHED:
        raise ConfigError(f"{key}: {path} is not finished; the same `rlvr eval` goes on there")
    summary = read_json(folder.summary)
    rows = path / "rows.jsonl"
    if "suites" not in summary or not rows.exists():
        raise ConfigError(f"{key}: {path} is the folder of another stage, not of an `rlvr eval`")
    return Evaluated(label=label, summary=summary, rows=RowLog(rows).rows)


STAGE = Stage(
    schema=CompareConfig,
    check=_check,
    run=_run,
    closing=_closing,
    needs_environment=False,
    is_repeatable=True,  # the report takes no time, and the evaluations may be new ones
)
