# ruff: noqa: RUF001 - full-width and Chinese punctuation is meant
r"""Units and currency beside a value: what may be left out, and which are the same.

    | gold     | accepted             | refused                |
    |----------|----------------------|------------------------|
    | 5 km     | 5, 5 kilometers      | 5 m                    |
    | 5        | 5 km, 5 apples       |                        |
    | \$18     | 18, 18 dollars       | 18 euros               |
    | 50\%     | 50\%, 50, 0.5, 1/2   | 500\%                  |
    | 50       | 50, 50\%             | 0.5, 5000\%            |
    | 0.5      | 0.5                  | 50\% (gold says not %) |
    | 20^\circ | 20^\circ, 20 degrees |                        |

Letters at the end of an expression are variables, never units: `2h` is not 2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["PERCENT", "Quantity", "are_different_units", "split_unit"]

PERCENT = "percent"

_UNITS = {
    "km": "km kilometer kilometre", "m": "meter metre", "cm": "cm centimeter centimetre",
    "mm": "mm millimeter millimetre", "mi": "mile", "ft": "ft foot feet", "in": "inch inches",
    "yd": "yd yard", "kg": "kg kilogram", "g": "gram", "mg": "mg milligram", "lb": "lb lbs pound",
    "oz": "oz ounce", "ton": "ton tonne", "l": "liter litre", "ml": "ml milliliter millilitre",
    "gal": "gal gallon", "s": "sec second", "min": "min minute", "h": "hr hrs hour", "day": "day",
    "week": "week", "month": "month", "year": "yr year", "mph": "mph", "kmh": "kmh kmph",
    "dollar": "dollar usd buck", "cent": "cent", "euro": "euro eur", "yuan": "yuan rmb 元",
    "yen": "yen jpy", "gbp": "gbp", "degree": "degree deg 度", PERCENT: "percent percentage pct",
    "radian": "rad radian", "celsius": "celsius", "fahrenheit": "fahrenheit",
}  # fmt: skip
_UNIT_BY_WORD = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_TEXT_UNIT_BY_WORD = {"m": "m", "g": "g", "s": "s", "h": "h", "l": "l", "in": "in", "mi": "mi"}
_CURRENCIES = {r"\$": "dollar", "$": "dollar", "€": "euro", "£": "gbp", "¥": "yuan", "￥": "yuan"}
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cu": "3", "cubed": "3"}

_CURRENCY = re.compile(r"([+-]?)\s*(\\\$|[$€£¥￥])\s*(?=[\d.\\])")
_TEXT_TAIL = re.compile(
    r"[\s,]*\\(?:text|mathrm|mbox|textrm|textnormal|textbf|rm)\s*\{([^{}]*)\}"
    r"(?:\^(?:\{(\d)\}|(\d)))?\.?$"
)
_MARK_TAIL = re.compile(
    r"(?:\^\{?\\circ\}?|\\degree|\\textdegree|(\\?[%％]))\s*([CF](?![A-Za-z]))?$"
)
_WORD_TAIL = re.compile(
    r"(?<=[\d}])( ?)([^\W\d_]{2,}\.?(?: [^\W\d_]+\.?){0,3}|[一-鿿])(?:\^\{?(\d)\}?)?$"
)
_TRIGONOMETRIC = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_JOINING_WORD = re.compile(
    r"\b(?:or|and|not|no|is|are|was|but|wrong|false|incorrect|to|mod|than|if|for|where|when|nor|"
    r"maybe|perhaps|instead|thousand|million|billion|trillion|hundred|dozen|half|sin|cos|tan|log|ln)\b"
    r"|不|或|错|和|万|亿|千|百|十|[分][之]",
    re.IGNORECASE,
)


class Quantity(NamedTuple):
    """A value, and the unit that stood beside it."""

    value: str
    unit: (
        str | None
    )  # canonical where it is known, the words themselves where not; None without one


def split_unit(text: str) -> Quantity:
    """Take the unit off a tidy answer; without one, or of nothing but words, it stays whole."""
    currency = _CURRENCY.match(text)
    if currency is not None:
        rest = split_unit(text[currency.end() :])
        return Quantity(currency[1] + rest.value, _CURRENCIES[currency[2]])
    text = text.removesuffix(r"\$").rstrip() if text.endswith(r"\$") else text
    for tail in (_mark_unit, _text_unit, _word_unit):
        found = tail(text)
        if found is not None and found.value:
            return found
    return Quantity(text, None)


def are_different_units(gold_unit: str | None, unit: str | None) -> bool:
    """Both are known units, and not the same: "5 m" is not "5 km"."""
    if gold_unit is None or unit is None or gold_unit == unit:
        return False
    return _is_known(gold_unit) and _is_known(unit)


def _mark_unit(text: str) -> Quantity | None:
    mark = _MARK_TAIL.search(text)
    if mark is None or (not mark[1] and _TRIGONOMETRIC.search(text)):
        return None
    unit = PERCENT if mark[1] else {"C": "celsius", "F": "fahrenheit"}.get(mark[2] or "", "degree")
    return Quantity(text[: mark.start()].rstrip(), unit)


def _text_unit(text: str) -> Quantity | None:
    tail = _TEXT_TAIL.search(text)
    if tail is None or _JOINING_WORD.search(tail[1]):
        return None
    words = tail[1].strip(" .,")
    value = text[: tail.start()].rstrip()
    if not words:
        return split_unit(value)
    unit = _canonical(words, tail[2] or tail[3], _TEXT_UNIT_BY_WORD)
    return Quantity(value, unit)


def _word_unit(text: str) -> Quantity | None:
    """Bare words that are no unit need a space before them: "42 apples", "5km", never "2ab"."""
    tail = _WORD_TAIL.search(text)
    if tail is None or _JOINING_WORD.search(tail[2]) or "\\" in text[tail.start() :]:
        return None
    unit = _canonical(tail[2], tail[3], {})
    is_attached_word = not tail[1] and tail[2].isascii() and not _is_known(unit)
    if is_attached_word or (len(tail[2]) == 2 and tail[2].isascii() and not _is_known(unit)):
        return None
    return Quantity(text[: tail.start()].rstrip(), unit)


def _canonical(words: str, power: str | None, more_words: dict[str, str] | None = None) -> str:
    parts = []
    for word in words.lower().replace(".", " ").split():
        power = _POWERS.get(word, power)
        if word not in _POWERS and word not in ("per", "of", "the"):
            parts.append(_word_unit_name(word, more_words or {}))
    return " ".join(parts or ["unit"]) + (f"^{power}" if power else "")


def _word_unit_name(word: str, more_words: dict[str, str]) -> str:
    for spelling in (word, word.removesuffix("s"), word.removesuffix("es")):
        if spelling in _UNIT_BY_WORD or spelling in more_words:
            return _UNIT_BY_WORD.get(spelling) or more_words[spelling]
    return word


def _is_known(unit: str) -> bool:
    return all(part in _UNITS for part in unit.partition("^")[0].split())
