"""Folders of finished evaluations, read for a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rlvr.errors import ConfigError
from rlvr.report.comparison import Evaluated
from rlvr.row_log import RowLog
from rlvr.run_folder import RunFolder, RunStatus, read_json

__all__ = ["read_evaluations"]


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
