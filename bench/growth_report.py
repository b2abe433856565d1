"""The results of `bench.growth`: a JSON file, a plot and a table.

bench/results/growth.json   all measurements
docs/growth.svg             the plot (bench/growth_plot.py)
docs/benchmarks.md          text between two markers, replaced
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.growth_plot import Panel, svg
from bench.growth_points import Axis, slope

__all__ = ["Exponent", "Measurement", "exponent_of", "markdown_table", "write_report"]

BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The fastest step of a point; times in seconds."""

    axis: str
    value: float
    work: float  # floating-point operations of the step
    num_tokens: int  # completion tokens of the step
    step_s: float
    generate_s: float
    learn_s: float
    sync_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponent:
    """Growth of the times of one axis; `last` is that between the two largest points."""

    step: float
    generate: float
    learn: float
    last: float
    limit: float

    @property
    def is_within_limit(self) -> bool:
        """Whether the step grows no faster than allowed."""
        return self.step <= self.limit


def exponent_of(axis: Axis, found: Sequence[Measurement]) -> Exponent:
    """Return the exponents of the times in the work, or in the value where the work is constant."""
    x = [one.work if axis.adds_work else one.value for one in found]
    return Exponent(
        step=slope(x, [one.step_s for one in found]),
        generate=slope(x, [one.generate_s for one in found]),
        learn=slope(x, [one.learn_s for one in found]),
        last=slope(x[-2:], [one.step_s for one in found[-2:]]),
        limit=axis.limit,
    )


def write_report(
    machine: Mapping[str, Any],
    axes: Sequence[Axis],
    found: Sequence[Measurement],
    *,
    root: Path | None,
) -> str:
    """Return the Markdown table; with `root`, also write all files below it."""
    by_axis = {axis: [one for one in found if one.axis == axis.name] for axis in axes}
    table = markdown_table(by_axis)
    text = f"{_heading(machine)}\n\n{table}"
    if root is not None:
        exponents = {a.name: asdict(exponent_of(a, members)) for a, members in by_axis.items()}
        record = {
            "machine": dict(machine),
            "exponents": exponents,
            "points": [asdict(one) for one in found],
        }
        path = root / "bench" / "results" / "growth.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        panels = [_panel(axis, members) for axis, members in by_axis.items()]
        (root / "docs" / "growth.svg").write_text(svg(panels), encoding="utf-8")
        page = root / "docs" / "benchmarks.md"
        section = f"![Step time and the work it adds](growth.svg)\n\n{text}"
        page.write_text(replaced(page.read_text(encoding="utf-8"), section), encoding="utf-8")
    return text


def markdown_table(by_axis: Mapping[Axis, Sequence[Measurement]]) -> str:
    """Return a row for each point, and one with the exponents after those of each axis."""
    lines = [
        "| axis | value | work, GFLOP | step, s | generate, s | learn, s | tokens/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for axis, members in by_axis.items():
        lines += [
            f"| {axis.title} | {one.value:,.0f} | {one.work / 1e9:,.1f} | {one.step_s:.2f} "
            f"| {one.generate_s:.2f} | {one.learn_s:.2f} | {one.num_tokens / one.step_s:,.0f} |"
            for one in members
        ]
        exponent = exponent_of(axis, members)
        lines.append(
            f"| | **exponent** | limit {exponent.limit:g} | **{exponent.step:.2f}**, at the end "
            f"{exponent.last:.2f} | {exponent.generate:.2f} | {exponent.learn:.2f} | |"
        )
    return "\n".join(lines)


def replaced(page: str, section: str) -> str:
    """Return a page with another text between the two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def _heading(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['date']}, {machine['processor']}, {len(machine['cores'])} cores, load average "
        f"{machine['load_before']:.1f} before and {machine['load_after']:.1f} after (its own "
        f"included), {machine['wall_s'] / 60:.0f} minutes"
    )


def _panel(axis: Axis, members: Sequence[Measurement]) -> Panel:
    first = members[0]
    exponent = exponent_of(axis, members)
    return Panel(
        title=f"{axis.title}: exponent {exponent.step:.2f}",
        x=[one.value for one in members],
        lines={
            "step": [one.step_s for one in members],
            "generate": [one.generate_s for one in members],
            "learn": [one.learn_s for one in members],
            "work": [first.step_s * one.work / first.work for one in members],
        },
    )
