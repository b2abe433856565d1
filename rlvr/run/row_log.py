"""Rows of a run: JSONL files that survive a kill, and metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.run.run_folder import report_disk_errors, write_text

__all__ = ["MetricsFile", "RowLog", "write_rows"]


class RowLog:
    """Append-only JSONL file of a resumable stage; opening it cuts off an incomplete last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = _read_complete_rows(path)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, in the order in which they were appended."""
        return list(self._rows)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows and sync them to disk, or raise RLVRError and leave the file as before."""
        new = [dict(row) for row in rows]
        with report_disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            size = self.path.stat().st_size if self.path.exists() else 0
            with self.path.open("ab", buffering=0) as file:
                try:
                    rest = memoryview(_to_jsonl(new).encode())
                    while rest:
                        rest = rest[os.write(file.fileno(), rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), size)
                    raise
        self._rows += new


class MetricsFile:
    """metrics.jsonl: one JSON object per line, in the order of steps."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[dict[str, Any]]:
        """Read all lines, except an incomplete last one."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def append(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        with report_disk_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop later steps: a resumed run repeats them."""
        self._keep(lambda line: line["step"] <= step)

    def forget_evaluation(self, step: int) -> None:
        """Drop the evaluation of a step, which is repeated."""
        self._keep(lambda line: line["step"] != step or "eval/pass_at_1" not in line)

    def _keep(self, is_kept: Callable[[Mapping[str, Any]], bool]) -> None:
        kept = [line for line in self.lines() if is_kept(line)]
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a whole JSONL file atomically; return its number of rows."""
    rows = list(rows)
    write_text(path, _to_jsonl(rows))
    return len(rows)


def _to_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read_complete_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows and truncate the file after the last complete one."""
    if not path.exists():
        return []
    data = path.read_bytes()
    complete = data[: data.rfind(b"\n") + 1]
    if len(complete) < len(data):
        os.truncate(path, len(complete))
    rows = []
    for number, line in enumerate(complete.splitlines(), start=1):  # bytes: a row may hold U+2028
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise ConfigError(
                f"{path}:{number}: not a row of this stage; delete the line or the file"
            ) from None
    return rows
