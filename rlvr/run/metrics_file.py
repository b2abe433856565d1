"""metrics.jsonl: one JSON line for each step, appended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.run.run_folder import written

__all__ = ["MetricsFile"]


class MetricsFile:
    """metrics.jsonl: one JSON object a line, in the order of steps."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[dict[str, Any]]:
        """All lines; a last line that a kill cut in half is left out."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line."""
        with written(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop later steps and the evaluation of `step` itself: a resumed run makes them again."""
        kept = [
            line
            for line in self.lines()
            if line["step"] < step or (line["step"] == step and "eval/pass_at_1" not in line)
        ]
        aside = self._path.with_name(self._path.name + ".tmp")
        with written(self._path):
            aside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            aside.replace(self._path)
