"""DeepSeek-R1's own numbers, for a report's reference rows, each marked as the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

__all__ = ["PaperTable", "paper_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table: shares in percent, Codeforces as a rating."""

    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | None]]  # None: the paper gives no number


@cache
def paper_table(name: str) -> PaperTable:
    """`r1_stages` or `distilled`."""
    path = Path(__file__).with_name("paper.yaml")
    found = yaml.safe_load(path.read_text(encoding="utf-8"))[name]
    return PaperTable(columns=found["columns"], rows=found["rows"])
