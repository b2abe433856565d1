"""Quantities in several units: "1 hour 30 minutes" is 90 minutes, 1小时30分 is 1.5小时.

Beside such a gold an answer has to name its unit: 130 and 90 say nothing.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rewards.math.plain_numbers import plain_number
from rewards.math.units import split_unit, unit_size

__all__ = ["same_quantity"]

_MAX_CHARS = 120
_PIECE = re.compile(
    r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>\\(?:text|mathrm)\{[^{}\d]{1,20}\}"
    r"|[A-Za-z]{1,10}|[一-鿿]{1,3})"
    r"\.?(?:,|\\(?:text|mathrm)\{ ?and ?\}| and |又|零|\s)*",
    re.ASCII,
)
_NUMBERED = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_Quantity = tuple[str, Fraction]  # what it measures, and how much in the smallest unit


def same_quantity(gold: str, answer: str) -> bool | None:
    """Both tidy; None where neither is a quantity in several units."""
    mixed = _in_pieces(gold), _in_pieces(answer)
    if mixed == (None, None):
        return None
    left, right = mixed[0] or _in_one(gold), mixed[1] or _in_one(answer)
    if left is None:  # a gold without a unit is compared in its own way
        return None
    return left == right


def _in_pieces(text: str) -> _Quantity | None:
    """Two or more numbers with units of one kind, each smaller than the one before."""
    if len(text) > _MAX_CHARS or len(_NUMBERED.findall(text)) < 2:
        return None
    pieces, position = [], 0
    while position < len(text):
        match = _PIECE.match(text, position)
        if match is None:
            return None
        pieces.append(match)
        position = match.end()
    return _total([(Fraction(piece["number"]), _size(piece["unit"])) for piece in pieces])


def _total(pieces: list[tuple[Fraction, tuple[str, Fraction] | None]]) -> _Quantity | None:
    total, kind, last = Fraction(0), "", None
    for number, size in pieces:
        if size is None or (last is not None and (size[0] != kind or size[1] >= last)):
            return None
        kind, last = size
        total += number * last
    return kind, total


def _size(unit: str) -> tuple[str, Fraction] | None:
    unit = "分钟" if unit == "分" else unit
    bare = re.fullmatch(r"([mshlg]|in)", unit)
    return unit_size(split_unit(rf"1\text{{{unit}}}" if bare else f"1 {unit}").unit)


def _in_one(text: str) -> _Quantity | None:
    value, unit = split_unit(text)
    number, size = plain_number(value), unit_size(unit)
    return None if number is None or size is None else (size[0], number * size[1])
