"""A plot with logarithmic axes as an SVG, without a plotting library.

One panel for each axis of `bench.growth`; "work" is the step time of the first point times the
work relative to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Panel", "svg"]

WIDTH, HEIGHT = 400, 300  # of a panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 34  # margins of its axes
COLUMNS = 2
STYLES = {  # line -> color, dashes
    "step": ("#1f4e9c", ""),
    "generate": ("#c2571a", ""),
    "learn": ("#2e7d32", ""),
    "work": ("#888888", "5 4"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines over common values of x; all numbers are above 0."""

    title: str
    x: Sequence[float]
    lines: Mapping[str, Sequence[float]]  # name, as in STYLES -> y


@dataclass(frozen=True, slots=True)
class _Scale:
    """Map from a value to pixels, logarithmic."""

    low: float
    high: float
    start: float  # pixel of low
    end: float

    def __call__(self, value: float) -> float:
        span = math.log(self.high / self.low) or 1.0
        return self.start + (self.end - self.start) * math.log(value / self.low) / span


def svg(panels: Sequence[Panel]) -> str:
    """Return the SVG document."""
    num_rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * WIDTH, num_rows * HEIGHT + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, panel in enumerate(panels):
        x, y = i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    parts += [*_legend(height - 8), "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(panel: Panel) -> Iterator[str]:
    values = [value for line in panel.lines.values() for value in line]
    to_x = _Scale(min(panel.x), max(panel.x), LEFT, WIDTH - RIGHT)
    to_y = _Scale(min(values) / 1.2, max(values) * 1.2, HEIGHT - BOTTOM, TOP)
    yield _text(WIDTH / 2, 20, panel.title, anchor="middle", weight="bold")
    for value in _round_values(to_y.low, to_y.high):
        y = to_y(value)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>'
        yield _text(LEFT - 6, y + 4, f"{value:g} s", anchor="end")
    for value in panel.x:
        yield _text(to_x(value), HEIGHT - BOTTOM + 16, _short(value), anchor="middle")
    frame = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
    yield f'<rect {frame} fill="none" stroke="#999"/>'
    for name, line in panel.lines.items():
        yield _line([(to_x(x), to_y(y)) for x, y in zip(panel.x, line, strict=True)], name)


def _line(points: Sequence[tuple[float, float]], name: str) -> str:
    color, dashes = STYLES[name]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    line = f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"{dash}/>'
    return line if dashes else f'{line}<g fill="{color}">{marks}</g>'


def _legend(y: float) -> Iterator[str]:
    names = {"work": "in proportion to the work"}
    for i, (name, (color, dashes)) in enumerate(STYLES.items()):
        x = LEFT + 110 * i
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        yield f'<path d="M{x} {y - 4}h24" stroke="{color}" stroke-width="1.6"{dash}/>'
        yield _text(x + 30, y, names.get(name, name), anchor="start")


def _text(x: float, y: float, text: str, *, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _round_values(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten from `low` to `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [value for value in values if low <= value <= high]


def _short(value: float) -> str:
    return f"{value / 1e6:.0f}M" if value >= 1e6 else f"{value:g}"
