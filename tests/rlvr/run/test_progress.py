"""Progress with the time left, on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from rlvr.run.progress import Progress


class Clock:
    """Time that a test sets."""

    time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def shown(times: dict[int, float], *, first: int = 0, is_terminal: bool = False) -> str:
    """Return the output for a run of 10 rows, of which so many are done at each time."""
    file, now = io.StringIO(), Clock()
    console = Console(file=file, force_terminal=is_terminal, width=80, highlight=False)
    with Progress("rows", total=10, first=first, line_s=5, console=console, now=now) as progress:
        for done, time_s in times.items():
            now.time_s = 100.0 + time_s
            progress.update(done, f"loss {done / 10}")
    return file.getvalue()


def test_lines_are_printed_when_they_are_due_and_at_the_end() -> None:
    lines = shown({1: 1.0, 4: 40.0, 5: 41.0, 10: 42.0}).splitlines()
    assert lines == ["4 of 10 rows  left 1:00  loss 0.4", "10 of 10 rows  loss 1.0"]


def test_the_time_left_counts_only_what_this_process_did() -> None:
    assert shown({8: 60.0}, first=6) == "8 of 10 rows  left 1:00  loss 0.8\n"


def test_a_terminal_shows_every_update_with_a_bar() -> None:
    text = shown({1: 1.0, 2: 2.0}, is_terminal=True)
    assert "2 of 10 rows  left 0:08  loss 0.2" in text
    assert "━" in text
