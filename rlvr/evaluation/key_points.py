"""Which of the points that a good solution must touch stand in a text.

A task's column `key_points` is a list: text (without regard to case and spaces), "re:PATTERN", or a
number, which any spelling of its value matches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewards.math.plain_numbers import plain_number

__all__ = ["coverage"]

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


def coverage(text: str, points: Sequence[object]) -> float | None:
    """Share of the points that are there; None without a point. 3 of 4 -> 0.75.

    Raises:
        ValueError: a pattern that is none.
    """
    if not points:
        return None
    return sum(_is_there(str(point), text) for point in points) / len(points)


def _is_there(point: str, text: str) -> bool:
    if point.startswith("re:"):
        try:
            return re.search(point.removeprefix("re:"), text, re.IGNORECASE) is not None
        except re.error as error:
            raise ValueError(f"key point {point!r}: {error}") from None
    value = plain_number(point)
    if value is None:
        return _folded(point) in _folded(text)
    return any(plain_number(number.rstrip(",")) == value for number in _NUMBER.findall(text))


def _folded(text: str) -> str:
    return "".join(text.casefold().split())
