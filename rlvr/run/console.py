"""Progress of a run: a live display on a terminal, one line per step elsewhere."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from statistics import fmean
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["LiveDisplay", "RunConsole", "clock", "step_line", "time_shares"]

BARS = "▁▂▃▄▅▆▇█"


def time_shares(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of each phase in the step's time; rollouts count only while waited for."""
    rollout_s = metrics["time/generate_s"] + metrics["time/grade_s"]
    waited = metrics["time/rollout_wait_s"]
    grade = waited * (metrics["time/grade_s"] / rollout_s) if rollout_s else 0.0
    times = {"generate": waited - grade, "grade": grade}
    times |= {name: metrics[f"time/{name}_s"] for name in ("learn", "sync", "other")}
    return {name: time_s / metrics["time/step_s"] for name, time_s in times.items()}


def step_line(metrics: Mapping[str, Any], *, num_steps: int, left_s: float) -> str:
    """Format one step as one line; `left_s` is the remaining time of the run in seconds."""
    parts = " ".join(f"{name} {value:.2f}" for name, value in _reward_parts(metrics).items())
    return (
        f"step {metrics['step']}/{num_steps}  reward {_number(metrics['reward/mean'])} ({parts})  "
        f"length {metrics['completion/length/mean']:.0f}  "
        f"entropy {_number(metrics['policy/entropy'])}  "
        f"{_shares(metrics, ' ')}  {metrics['tokens/per_s']:,.0f} tokens/s  "
        f"{metrics['time/step_s']:.1f} s  left {clock(left_s)}"
    )


class LiveDisplay:
    """A display that is redrawn in place on a terminal; elsewhere, lines are printed."""

    def __init__(self, console: Console | None) -> None:
        self._console = console or Console(highlight=False)
        is_live = self._console.is_terminal
        self._live = Live(console=self._console, refresh_per_second=4) if is_live else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def print_line(self, line: str) -> None:
        """Print a line as it is; on a terminal it stays above the live display."""
        self._console.print(line, soft_wrap=True, markup=False)


class RunConsole(LiveDisplay):
    """Show phases, steps and evaluations, live on a terminal."""

    def __init__(self, *, title: str, num_steps: int, console: Console | None = None) -> None:
        super().__init__(console)
        self._title = title
        self._num_steps = num_steps
        self._step_s: deque[float] = deque(maxlen=20)
        self._rewards: list[float] = []
        self._last: Mapping[str, Any] | None = None
        self._note = ""

    def phase(self, text: str) -> None:
        """Show the current phase."""
        self._note = text
        self._show(text)

    def step(self, metrics: Mapping[str, Any]) -> None:
        """Show a finished step."""
        self._step_s.append(metrics["time/step_s"])
        self._rewards.append(metrics["reward/mean"] or 0.0)
        self._last, self._note = metrics, ""
        left_s = self._left_s(metrics["step"])
        self._show(step_line(metrics, num_steps=self._num_steps, left_s=left_s))

    def evaluation(self, text: str) -> None:
        """Print a finished evaluation."""
        self.print_line(text)

    def _left_s(self, step: int) -> float:
        return (self._num_steps - step) * sum(self._step_s) / len(self._step_s)

    def _show(self, line: str) -> None:
        if self._live:
            self._live.update(self._render())
        else:
            self.print_line(line)

    def _render(self) -> Group:
        metrics = self._last
        if metrics is None:
            return Group(Text(f"{self._title}  {self._note}"))
        step, length = metrics["step"], metrics["completion/length/mean"]
        speed = f"{metrics['tokens/per_s']:,.0f} tokens/s, {metrics['time/step_s']:.2f} s per step"
        rows = {
            "reward": f"{_number(metrics['reward/mean'])}  {_sparkline(self._rewards)}",
            **{f"  {name}": f"{value:.3f}" for name, value in _reward_parts(metrics).items()},
            "length": f"{length:.1f} tokens, {metrics['completion/truncated_frac']:.1%} truncated",
            "entropy": f"{_number(metrics['policy/entropy'])} nats per token",
            "no signal": f"{metrics['group/no_signal_frac']:.0%} of the groups",
            "time": _shares(metrics, "  "),
            "speed": speed,
            "left": f"{clock(self._left_s(step))}  {self._note}",
        }
        table = Table.grid(padding=(0, 3))
        for row in rows.items():
            table.add_row(*row)
        bar = Padding(ProgressBar(total=self._num_steps, completed=step, width=60), (0, 0, 1, 0))
        return Group(Text(f"{self._title}  step {step} of {self._num_steps}"), bar, table)


def _shares(metrics: Mapping[str, Any], separator: str) -> str:
    return separator.join(f"{name} {share:.0%}" for name, share in time_shares(metrics).items())


def _reward_parts(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name.split("/")[1]: value
        for name, value in metrics.items()
        if re.fullmatch("reward/.+/mean", name) and value is not None
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def clock(seconds: float) -> str:
    """Format a duration as `1:02` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _sparkline(values: list[float], width: int = 40) -> str:
    stride = max(1, -(-len(values) // width))
    means = [fmean(values[i : i + stride]) for i in range(0, len(values), stride)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in means)
