"""What a distillation has on the disk: replies, scores, and what each reply cost.

replies.jsonl   one row a question, without its score
scores.jsonl    {"id", "score", "scored_by", ..., "scoring": how it was scored}
usage.jsonl     {"for": "teacher" | "judge", "id", "endpoint", "model", tokens} a reply, also of
                those that were asked again
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr.run.row_log import RowLog
from rlvr.teacher import Reply

__all__ = ["TeacherLogs"]

Row = Mapping[str, Any]

_TOKENS = ("prompt_tokens", "completion_tokens")


class TeacherLogs:
    """Goes on where it was interrupted; `add_*` returns when the row is on the disk."""

    def __init__(self, folder: Path) -> None:
        self._replies = RowLog(folder / "replies.jsonl")
        self._scores = RowLog(folder / "scores.jsonl")
        self._usage = RowLog(folder / "usage.jsonl")
        self._noted: list[Row] = []
        self.replies: dict[str, Row] = {row["id"]: row for row in self._replies.rows}

    def add_reply(self, row: Row) -> None:
        """Raises RLVRError where the disk refuses it."""
        self._write_usage()
        self._replies.append([row])
        self.replies[row["id"]] = row

    def add_scores(self, rows: Sequence[Row]) -> None:
        """Raises RLVRError where the disk refuses them."""
        self._write_usage()
        self._scores.append(rows)

    def scores_by(self, scoring: str) -> dict[str, Row]:
        """Row id -> its score, of those that were scored in this way."""
        return {row["id"]: row for row in self._scores.rows if row["scoring"] == scoring}

    def note_teacher(self, id: str, reply: Reply) -> None:
        """What a reply cost; goes to the disk with the next row."""
        self._noted.append(_usage_row("teacher", id, reply))

    def note_judge(self, id: str, reply: Reply) -> None:
        """The same, of a judge."""
        self._noted.append(_usage_row("judge", id, reply))

    def totals(self) -> dict[str, dict[str, int]]:
        """ "teacher endpoint" -> replies and tokens, over all runs of this folder."""
        self._write_usage()
        totals: dict[str, dict[str, int]] = {}
        for row in self._usage.rows:
            one = totals.setdefault(
                f"{row['for']} {row['endpoint']}", dict.fromkeys(("replies", *_TOKENS), 0)
            )
            one["replies"] += 1
            for name in _TOKENS:
                one[name] += row[name] or 0
        return totals

    def _write_usage(self) -> None:
        noted, self._noted = self._noted, []
        if noted:
            self._usage.append(noted)


def _usage_row(purpose: str, id: str, reply: Reply) -> dict[str, Any]:
    return {
        "for": purpose,
        "id": id,
        "endpoint": reply.endpoint,
        "model": reply.model,
        **asdict(reply.usage),
    }
