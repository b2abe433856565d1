"""Numbers as a report shows them."""

from __future__ import annotations

__all__ = ["count", "number", "percent", "share"]

MISSING = "-"


def share(value: float | None, stderr: float | None = None, *, times: float = 1.0) -> str:
    """ "0.750 ± 0.041": a share with `times` its standard error; "-" where there is none."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if stderr is None else f"{value:.3f} ± {times * stderr:.3f}"


def percent(value: float | None) -> str:
    """ "12.5%"."""
    return MISSING if value is None else f"{value:.1%}"


def number(value: float | None, digits: int = 1) -> str:
    """ "1,234.5"."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """ "1,234"."""
    return MISSING if value is None else f"{value:,.0f}"
