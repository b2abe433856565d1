"""Rows that survive a kill: a JSONL file that is only ever appended to, whole rows at a time.

RowLog(path).append(rows)     one write and one sync for all of them
RowLog(path)                  after a crash: a last line without its end is cut off
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.run.run_folder import written

__all__ = ["RowLog", "write_rows"]


class RowLog:
    """The rows of a stage that goes on where it was interrupted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = _whole_rows(path)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, in the order in which they were written."""
        return list(self._rows)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Returns when the rows are on the disk.

        Raises:
            RLVRError: where the disk refuses them; what was written of them is taken back.
        """
        new = [dict(row) for row in rows]
        with written(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            before = self.path.stat().st_size if self.path.exists() else 0
            with self.path.open("ab", buffering=0) as file:
                try:
                    _write_all(file.fileno(), _lines(new))
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), before)
                    raise
        self._rows += new


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a whole JSONL file aside and rename it; returns how many rows it has."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    aside = path.with_name(path.name + ".tmp")
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    return len(lines)


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _whole_rows(path: Path) -> list[dict[str, Any]]:
    """The rows in the file, which is cut behind the last whole one."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    rows = []
    for number, line in enumerate(whole.splitlines(), start=1):  # bytes: a row may hold U+2028
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise ConfigError(
                f"{path}:{number}: not a row that this stage wrote; delete the line or the file"
            ) from None
    return rows
