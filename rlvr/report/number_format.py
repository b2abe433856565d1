"""Numbers formatted for a report; a missing one (None) is shown as "-"."""

from __future__ import annotations

__all__ = ["MISSING", "count", "number", "percent", "share"]

MISSING = "-"


def share(value: float | None, stderr: float | None = None, *, times: float = 1.0) -> str:
    """Format a share with `times` its standard error: "0.750 ± 0.041"."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if stderr is None else f"{value:.3f} ± {times * stderr:.3f}"


def percent(value: float | None) -> str:
    """Format a share in percent: "12.5%"."""
    return MISSING if value is None else f"{value:.1%}"


def number(value: float | None, digits: int = 1) -> str:
    """Format a number with `digits` decimals: "1,234.5"."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """Format a count: "1,234"."""
    return number(value, 0)
