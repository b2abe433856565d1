# ruff: noqa: RUF001 - full-width and Chinese punctuation is intended
r"""Units and currency after a value: which may be omitted, and which are the same.

A unit may be omitted in the answer and added to a gold without one; another unit is wrong. Units of
one kind are converted: 5 km is 5000 m. docs/rewards.md lists examples.

Letters at the end of an expression are variables, not units: `2h` is not 2. A gold in several units
("1 hour 30 minutes") is matched by any quantity of the same size, and requires a unit.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from rewards.math.plain_numbers import plain_number
from rewards.math.shapes import split_top_level
from rewards.math.unit_names import PERCENT, SYMBOLS, canonical_unit, is_known_unit, unit_size

__all__ = ["Quantity", "same_mixed_quantity", "split_letter_unit", "split_list_unit", "split_unit"]

_CURRENCIES = {r"\$": "dollar", "$": "dollar", "€": "euro", "£": "gbp", "¥": "yuan", "￥": "yuan"}
_DEGREES = {"C": "celsius", "F": "fahrenheit", "": "degree"}
_RATE_TOPS = frozenset("km m cm mm mi ft kg g mg rad rev".split())  # noqa: SIM905
_RATE_BOTTOMS = frozenset("s sec h hr min l ml cm m".split())  # noqa: SIM905

_CURRENCY = re.compile(r"([+-]?)\s*(\\\$|[$€£¥￥])\s*(?=[\d.\\])")
_INSIDE = r"((?:[^{}]|\^\{-?\d\})*)"
_EXPONENT = r"(?:\^(?:\{(-?\d)\}|(\d)))?"
_TEXT_TAIL = re.compile(
    r"[\s,]*\\(?:text|mathrm|mbox|textrm|textnormal|textbf|rm)\s*\{" + _INSIDE + r"\}" + _EXPONENT
    + r"\.?$"
)  # fmt: skip
_TEXT_JOIN = re.compile(
    r"\\(?:text|mathrm)\{([^{}]*)\}(\^\{?-?\d\}?)?\s*(/|\\cdot ?|)\s*\\(?:text|mathrm)\{([^{}]*)\}"
)
_MARK_TAIL = re.compile(
    r"(?:\^\{?\\circ\}?|\\degree|\\textdegree|(\\?[%％]))\s*"
    r"(?:([CF])|\\(?:text|mathrm)\{ ?([CF]) ?\})?$"
)
_WORD_TAIL = re.compile(
    r"(?:(?<=[\d}])|(?<=\\pi))( ?)([^\W\d_]{2,}\.?(?: [^\W\d_]+\.?){0,3}|[一-鿿])(?:\^\{?(\d)\}?)?$"
)
_RATE_TAIL = re.compile(
    r"(?<=[\d}]) ?(([A-Za-z]{1,3})/([A-Za-z]{1,3})"
    r"|(?:千米|公里|[分厘]?米|千?克|公斤|元|吨|升)/(?:小?时|分钟?|秒|天|千克|公斤|米|[升个人本]))"
    r"(?:\^\{?(\d)\}?)?$"
)
_PER_TIME = re.compile(r"每(小时|分钟?|秒|天)(.+)")
_OHM = re.compile(r"(?<=[\d}]) ?(k?)\\Omega$")
_SYMBOL = "(?:" + "|".join(sorted(SYMBOLS, key=len, reverse=True)) + r")(?:\^\{?-?\d\}?)?"
_LETTER_TAIL = re.compile(rf"(?<=[\d}}]) ?({_SYMBOL}(?:(?: |\\cdot ?|/){_SYMBOL}){{0,3}})$")
_OPERATOR_END = re.compile(r"(?:[-+*/=^_(,<>]|\\(?:times|cdot|pm))$")
_TRIGONOMETRIC = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_JOINING_WORD = re.compile(
    r"\b(?:or|and|not|no|is|are|was|but|wrong|false|incorrect|to|mod|than|if|for|where|when|nor|"
    r"maybe|perhaps|instead|thousand|million|billion|trillion|hundred|dozen|half|sin|cos|tan|log|ln)\b"
    r"|不|或|错|和|万|亿|千(?![克米焦瓦])|百|十|[分][之]",
    re.IGNORECASE,
)
_PIECE = re.compile(
    r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>\\(?:text|mathrm)\{[^{}\d]{1,20}\}"
    r"|[A-Za-z]{1,10}|[一-鿿]{1,3})"
    r"\.?(?:,|\\(?:text|mathrm)\{ ?and ?\}| and |又|零|\s)*",
    re.ASCII,
)
_NUMBERED = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_MAX_MIXED_CHARS = 120
_Amount = tuple[str, Fraction]  # kind of unit, and the amount in the smallest unit of that kind


class Quantity(NamedTuple):
    """A value and its unit."""

    value: str
    unit: str | None  # canonical if known ("m/s^2"), else the words; None: no unit


def split_unit(text: str) -> Quantity:
    """Split the unit off a normalized answer; words alone are no unit."""
    currency = _CURRENCY.match(text)
    if currency is not None:
        rest = split_unit(text[currency.end() :])
        return Quantity(currency[1] + rest.value, _CURRENCIES[currency[2]])
    text = text.removesuffix(r"\$").rstrip() if text.endswith(r"\$") else text
    every = _PER_TIME.fullmatch(text)
    text = f"{every[2]}/{every[1]}" if every is not None else text
    text = _OHM.sub(r"\\text{\1Ω}", text)
    for _ in range(3):
        text = _TEXT_JOIN.sub(r"\\text{\1\2\3 \4}", text)
    for tail in (_mark_unit, _text_unit, _rate_unit, _word_unit):
        found = tail(text)
        if found is not None and found.value and not _OPERATOR_END.search(found.value):
            return found
    return Quantity(text, None)


def split_list_unit(text: str) -> Quantity:
    r"""Split a common unit off the values of a list: `45^\circ, 135^\circ`, "3 cm, 4 cm"."""
    parts = [split_unit(part) for part in split_top_level(text, ",")]
    units = {part.unit for part in parts} - {None}
    if len(parts) < 2 or len(units) != 1 or parts[-1].unit is None:
        return Quantity(text, None)
    return Quantity(", ".join(part.value for part in parts), parts[-1].unit)  # 45,135 is a number


def split_letter_unit(text: str) -> Quantity:
    """Split off single letters as a unit: `20 m`, where the gold has a unit."""
    tail = _LETTER_TAIL.search(text)
    if tail is None:
        return Quantity(text, None)
    return Quantity(text[: tail.start()].rstrip(), canonical_unit(tail[1], None, is_exact=True))


def same_mixed_quantity(gold: str, answer: str) -> bool | None:
    """Compare quantities if one has several units, as "1 hour 30 minutes"; else return None."""
    mixed = _mixed_amount(gold), _mixed_amount(answer)
    if mixed == (None, None):
        return None
    left, right = mixed[0] or _single_amount(gold), mixed[1] or _single_amount(answer)
    return None if left is None else left == right


def _mark_unit(text: str) -> Quantity | None:
    mark = _MARK_TAIL.search(text)
    if mark is None or (not mark[1] and _TRIGONOMETRIC.search(text)):
        return None
    unit = PERCENT if mark[1] else _DEGREES[mark[2] or mark[3] or ""]
    return Quantity(text[: mark.start()].rstrip(), unit)


def _text_unit(text: str) -> Quantity | None:
    r"""`5\text{ km}`; unknown words only after a number: `n\text{ odd}` is not n."""
    tail = _TEXT_TAIL.search(text)
    if tail is None or _JOINING_WORD.search(tail[1]):
        return None
    words = tail[1].strip(" .,")
    value = text[: tail.start()].rstrip()
    if not words:
        return split_unit(value)
    unit = canonical_unit(words, tail[2] or tail[3], is_exact=True)
    is_unit = unit is None or is_known_unit(unit) or re.search(r"\d", value) is not None
    return Quantity(value, unit) if is_unit else None


def _rate_unit(text: str) -> Quantity | None:
    """Common rates: "10 m/s", "60 km/h", "2 g/cm^3"."""
    tail = _RATE_TAIL.search(text)
    if tail is None or (tail[2] and not (tail[2] in _RATE_TOPS and tail[3] in _RATE_BOTTOMS)):
        return None
    return Quantity(text[: tail.start()], canonical_unit(tail[1], tail[4], is_exact=True))


def _word_unit(text: str) -> Quantity | None:
    """Words; an unknown one only after a space: "42 apples", "5km", not "2ab"."""
    tail = _WORD_TAIL.search(text)
    if tail is None or _JOINING_WORD.search(tail[2]) or "\\" in text[tail.start() :]:
        return None
    unit = canonical_unit(tail[2], tail[3], is_exact=False)
    is_known = unit is None or is_known_unit(unit)
    if not is_known and tail[2].isascii() and (not tail[1] or len(tail[2]) == 2):
        return None
    return Quantity(text[: tail.start()].rstrip(), unit)


def _mixed_amount(text: str) -> _Amount | None:
    """Add up two or more quantities of one kind, in decreasing units."""
    if len(text) > _MAX_MIXED_CHARS or len(_NUMBERED.findall(text)) < 2:
        return None
    total, kind, last, position = Fraction(0), "", None, 0
    while position < len(text):
        piece = _PIECE.match(text, position)
        size = None if piece is None else _piece_size(piece["unit"])
        if piece is None or size is None:
            return None
        if last is not None and (size[0] != kind or size[1] >= last):
            return None
        kind, last = size
        total += Fraction(piece["number"]) * last
        position = piece.end()
    return kind, total


def _piece_size(unit: str) -> tuple[str, Fraction] | None:
    unit = "分钟" if unit == "分" else unit
    is_symbol = re.fullmatch(r"[mshlg]|in", unit) is not None
    return unit_size(split_unit(rf"1\text{{{unit}}}" if is_symbol else f"1 {unit}").unit)


def _single_amount(text: str) -> _Amount | None:
    value, unit = split_unit(text)
    number, size = plain_number(value), unit_size(unit)
    return None if number is None or size is None else (size[0], number * size[1])
