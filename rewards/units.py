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
    | 2 hours  | 2, 2 h, 120 minutes  | 2 minutes              |

Letters at the end of an expression are variables, never units: `2h` is not 2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = [
    "PERCENT",
    "Quantity",
    "are_different_units",
    "is_known_unit",
    "split_letter_unit",
    "split_unit",
    "unit_size",
]

PERCENT = "percent"

_UNITS = {
    "km": "km kilometer kilometre", "m": "meter metre", "cm": "cm centimeter centimetre",
    "dm": "dm decimeter decimetre", "mm": "mm millimeter millimetre", "mi": "mile",
    "ft": "ft foot feet", "in": "inch inches", "yd": "yd yard", "kg": "kg kilogram", "g": "gram",
    "mg": "mg milligram", "lb": "lb lbs pound", "oz": "oz ounce", "ton": "ton tonne",
    "l": "liter litre", "ml": "ml milliliter millilitre", "gal": "gal gallon", "s": "sec second",
    "min": "min minute", "h": "hr hrs hour", "day": "day", "week": "week", "month": "month",
    "year": "yr year", "mi/h": "mph", "km/h": "kmh kmph", "dollar": "dollar usd buck",
    "cent": "cent", "euro": "euro eur", "yuan": "yuan rmb", "jiao": "jiao", "yen": "yen jpy",
    "gbp": "gbp", "degree": "degree deg", PERCENT: "percent percentage pct",
    "radian": "rad radian", "celsius": "celsius", "fahrenheit": "fahrenheit",
}  # fmt: skip
_CHINESE_UNITS = {
    "千米": "km", "公里": "km", "米": "m", "分米": "dm", "厘米": "cm", "毫米": "mm", "千克": "kg",
    "公斤": "kg", "克": "g", "毫克": "mg", "吨": "ton", "升": "l", "毫升": "ml", "秒": "s",
    "分钟": "min", "小时": "h", "个小时": "h", "时": "h", "天": "day", "周": "week", "星期": "week",
    "月": "month", "个月": "month", "年": "year", "元": "yuan", "块": "yuan", "角": "jiao",
    "美元": "dollar", "美分": "cent", "欧元": "euro", "日元": "yen", "英镑": "gbp", "度": "degree",
    "摄氏度": "celsius",
}  # fmt: skip
_UNIT_BY_WORD = _CHINESE_UNITS | {
    word: unit for unit, words in _UNITS.items() for word in words.split()
}
_TEXT_UNIT_BY_WORD = {"m": "m", "g": "g", "s": "s", "h": "h", "l": "l", "in": "in", "mi": "mi"}
_CURRENCIES = {r"\$": "dollar", "$": "dollar", "€": "euro", "£": "gbp", "¥": "yuan", "￥": "yuan"}
_RATE_TOPS = frozenset("km m cm mm mi ft kg g mg".split())  # noqa: SIM905
_RATE_BOTTOMS = frozenset("s sec h hr min l ml cm m".split())  # noqa: SIM905
_SIZES = {
    "length": {"km": 10**6, "m": 1000, "dm": 100, "cm": 10, "mm": 1},
    "imperial": {"mi": 63360, "yd": 36, "ft": 12, "in": 1},
    "time": {"week": 604800, "day": 86400, "h": 3600, "min": 60, "s": 1},
    "mass": {"kg": 10**6, "g": 1000, "mg": 1},
    "volume": {"l": 1000, "ml": 1},
    "dollars": {"dollar": 100, "cent": 1},
    "yuan": {"yuan": 10, "jiao": 1},
}
_KIND_AND_SIZE = {
    unit: (kind, size) for kind, sizes in _SIZES.items() for unit, size in sizes.items()
}
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cu": "3", "cubed": "3"}

_CURRENCY = re.compile(r"([+-]?)\s*(\\\$|[$€£¥￥])\s*(?=[\d.\\])")
_TEXT_TAIL = re.compile(
    r"[\s,]*\\(?:text|mathrm|mbox|textrm|textnormal|textbf|rm)\s*\{((?:[^{}]|\^\{\d\})*)\}"
    r"(?:\^(?:\{(\d)\}|(\d)))?\.?$"
)
_MARK_TAIL = re.compile(
    r"(?:\^\{?\\circ\}?|\\degree|\\textdegree|(\\?[%％]))\s*"
    r"(?:([CF])|\\(?:text|mathrm)\{ ?([CF]) ?\})?$"
)
_WORD_TAIL = re.compile(
    r"(?:(?<=[\d}])|(?<=\\pi))( ?)([^\W\d_]{2,}\.?(?: [^\W\d_]+\.?){0,3}|[一-鿿])(?:\^\{?(\d)\}?)?$"
)
_RATE_TAIL = re.compile(
    r"(?<=[\d}]) ?(([A-Za-z]{1,2})/([A-Za-z]{1,3})|[千厘]?米/小?[时秒])(?:\^\{?(\d)\}?)?$"
)
_LETTER_TAIL = re.compile(r"(?<=[\d}]) ?([mgshlL])(?:\^\{?(\d)\}?)?$")
_POWER_TAIL = re.compile(r"\^?\{?(\d)\}?$", re.ASCII)
_OPERATOR_END = re.compile(r"(?:[-+*/=^_(,<>]|\\(?:times|cdot|pm))$")
_TRIGONOMETRIC = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_JOINING_WORD = re.compile(
    r"\b(?:or|and|not|no|is|are|was|but|wrong|false|incorrect|to|mod|than|if|for|where|when|nor|"
    r"maybe|perhaps|instead|thousand|million|billion|trillion|hundred|dozen|half|sin|cos|tan|log|ln)\b"
    r"|不|或|错|和|万|亿|千(?![克米])|百|十|[分][之]",
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
    for tail in (_mark_unit, _text_unit, _rate_unit, _word_unit):
        found = tail(text)
        if found is not None and found.value and not _OPERATOR_END.search(found.value):
            return found
    return Quantity(text, None)


def are_different_units(gold_unit: str | None, unit: str | None) -> bool:
    """Both are known units, and not the same: "5 m" is not "5 km"."""
    if gold_unit is None or unit is None or gold_unit == unit:
        return False
    return is_known_unit(gold_unit) and is_known_unit(unit)


def is_known_unit(unit: str) -> bool:
    """Is every word of it the name of a unit?"""
    name = unit.partition("^")[0]
    return name in _UNITS or all(part in _UNITS for part in re.split("[ /]", name))


def unit_size(unit: str | None) -> tuple[str, int] | None:
    """What it measures, and how many of the smallest unit of that kind it is; None: not known."""
    name, _, power = (unit or "").partition("^")
    known = _KIND_AND_SIZE.get(name)
    return None if known is None else (known[0] + power, known[1] ** int(power or 1))


def split_letter_unit(text: str) -> Quantity:
    """`20 m`: only beside a gold that has a unit is a single letter one, and no variable."""
    tail = _LETTER_TAIL.search(text)
    if tail is None:
        return Quantity(text, None)
    return Quantity(text[: tail.start()].rstrip(), _canonical(tail[1], tail[2], _TEXT_UNIT_BY_WORD))


def _mark_unit(text: str) -> Quantity | None:
    mark = _MARK_TAIL.search(text)
    if mark is None or (not mark[1] and _TRIGONOMETRIC.search(text)):
        return None
    unit = (
        PERCENT
        if mark[1]
        else {"C": "celsius", "F": "fahrenheit"}.get(mark[2] or mark[3] or "", "degree")
    )
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


def _rate_unit(text: str) -> Quantity | None:
    """Bare rates that are common: "10 m/s", "60 km/h", "2 g/cm^3"."""
    tail = _RATE_TAIL.search(text)
    if tail is None or (tail[2] and not (tail[2] in _RATE_TOPS and tail[3] in _RATE_BOTTOMS)):
        return None
    return Quantity(text[: tail.start()], _canonical(tail[1], tail[4], _TEXT_UNIT_BY_WORD))


def _word_unit(text: str) -> Quantity | None:
    """Bare words that are no unit need a space before them: "42 apples", "5km", never "2ab"."""
    tail = _WORD_TAIL.search(text)
    if tail is None or _JOINING_WORD.search(tail[2]) or "\\" in text[tail.start() :]:
        return None
    unit = _canonical(tail[2], tail[3], {})
    is_attached_word = not tail[1] and tail[2].isascii() and not is_known_unit(unit)
    if is_attached_word or (len(tail[2]) == 2 and tail[2].isascii() and not is_known_unit(unit)):
        return None
    return Quantity(text[: tail.start()].rstrip(), unit)


def _canonical(words: str, power: str | None, more_words: dict[str, str] | None = None) -> str:
    tail = _POWER_TAIL.search(words)
    if tail is not None:
        words, power = words[: tail.start()], power or tail[1]
    words = words.lower().replace(".", " ").replace(" per ", "/")
    names = []
    for side in words.split("/"):
        name, side_power = _side_name(side, more_words or {})
        names.append(name)
        power = side_power or power
    return "/".join(names) + (f"^{power}" if power else "")


def _side_name(words: str, more_words: dict[str, str]) -> tuple[str, str | None]:
    """The name of what stands before or after "per", and its power: "square cm" is cm, 2."""
    parts, power = [], None
    words = words.replace("平方", " square ").replace("立方", " cubic ")
    for word in words.split():
        power = _POWERS.get(word, power)
        if word not in _POWERS and word not in ("of", "the"):
            parts.append(_word_unit_name(word, more_words))
    return " ".join(parts or ["unit"]), power


def _word_unit_name(word: str, more_words: dict[str, str]) -> str:
    for spelling in (word, word.removesuffix("s"), word.removesuffix("es")):
        if spelling in _UNIT_BY_WORD or spelling in more_words:
            return _UNIT_BY_WORD.get(spelling) or more_words[spelling]
    return word
