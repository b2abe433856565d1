"""Progress of counted work with the time left: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.text import Text

from rlvr.run.console import LiveDisplay, clock

__all__ = ["Progress"]


class Progress(LiveDisplay):
    """Show how much is done, such as `50 of 600 steps  left 1:32  loss 2.83`."""

    def __init__(
        self,
        unit: str,
        *,
        total: int,
        first: int = 0,
        line_s: float = 15.0,
        console: Console | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`first`: done by an earlier process; `line_s`: between two lines, at least."""
        super().__init__(console)
        self._unit = unit
        self._total = total
        self._first = first
        self._line_s = line_s
        self._now = now
        self._started = self._printed = now()

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` of the total are done; off a terminal, if a line is due."""
        if self._live:
            bar = ProgressBar(total=self._total, completed=done, width=60)
            self._live.update(Group(Text(self._line(done, note)), bar))
        elif done == self._total or self._now() - self._printed >= self._line_s:
            self._printed = self._now()
            self.print_line(self._line(done, note))

    def _line(self, done: int, note: str) -> str:
        parts = [f"{done} of {self._total} {self._unit}", self._left(done), note]
        return "  ".join(filter(None, parts))

    def _left(self, done: int) -> str:
        if done <= self._first or done >= self._total:
            return ""
        elapsed_s = self._now() - self._started
        return f"left {clock(elapsed_s * (self._total - done) / (done - self._first))}"
