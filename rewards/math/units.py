# ruff: noqa: RUF001 - full-width and Chinese punctuation is meant
r"""Units and currency beside a value: what may be left out, and which are the same.

    | gold     | accepted             | refused                |
    |----------|----------------------|------------------------|
    | 5 km     | 5, 5 kilometers      | 5 m, 5 apples          |
    | 5        | 5 km, 5 apples       |                        |
    | \$18     | 18, 18 dollars       | 18 euros, 18 apples    |
    | 50\%     | 50\%, 50, 0.5, 1/2   | 500\%                  |
    | 50       | 50, 50\%             | 0.5, 5000\%            |
    | 0.5      | 0.5                  | 50\% (gold says not %) |
    | 20^\circ | 20^\circ, 20 degrees |                        |
    | 2 hours  | 2, 2 h, 120 minutes  | 2 minutes              |
    | 5 m/s    | 5 m s^{-1}, 18 km/h  | 5 m, 5 m/s^2           |
    | 12个     | 12, 12只             | 12元                   |

Letters at the end of an expression are variables, never units: `2h` is not 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from rewards.math.structure import split_top_level
from rewards.math.unit_names import (
    COUNTERS,
    GENERIC_COUNTER,
    MEASURES,
    PERCENT,
    SIZES,
    SYMBOLS,
    UNIT_BY_WORD,
)

__all__ = [
    "PERCENT",
    "Quantity",
    "are_different_units",
    "is_known_unit",
    "split_letter_unit",
    "split_list_unit",
    "split_unit",
    "unit_size",
]

_CURRENCIES = {r"\$": "dollar", "$": "dollar", "€": "euro", "£": "gbp", "¥": "yuan", "￥": "yuan"}
_RATE_TOPS = frozenset("km m cm mm mi ft kg g mg rad rev".split())  # noqa: SIM905
_RATE_BOTTOMS = frozenset("s sec h hr min l ml cm m".split())  # noqa: SIM905
_SPEEDS = {"mph": "mi/h", "kmh": "km/h", "kmph": "km/h", "kph": "km/h"}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_POWERS_BEHIND = ("squared", "cubed")
# "5 cm long" is 5 cm; "in" only where it stood in "in all", "in total".
_QUALIFIER_WORDS = (
    "long tall wide high deep thick old away apart total altogether all left remaining each more "
    "only exactly"
)
_QUALIFIERS = frozenset(_QUALIFIER_WORDS.split(" "))
_NEUTRAL_WORDS = frozenset(("unit", "units"))

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
_EVERY = re.compile(r"每(小时|分钟?|秒|天)(.+)")
_OHM = re.compile(r"(?<=[\d}]) ?(k?)\\Omega$")
_SYMBOL = "(?:" + "|".join(sorted(SYMBOLS, key=len, reverse=True)) + r")(?:\^\{?-?\d\}?)?"
_LETTER_TAIL = re.compile(rf"(?<=[\d}}]) ?({_SYMBOL}(?:(?: |\\cdot ?|/){_SYMBOL}){{0,3}})$")
_POWER_TAIL = re.compile(r"\^?\{?(-?\d)\}?$", re.ASCII)
_OPERATOR_END = re.compile(r"(?:[-+*/=^_(,<>]|\\(?:times|cdot|pm))$")
_TRIGONOMETRIC = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_JOINING_WORD = re.compile(
    r"\b(?:or|and|not|no|is|are|was|but|wrong|false|incorrect|to|mod|than|if|for|where|when|nor|"
    r"maybe|perhaps|instead|thousand|million|billion|trillion|hundred|dozen|half|sin|cos|tan|log|ln)\b"
    r"|不|或|错|和|万|亿|千(?![克米焦瓦])|百|十|[分][之]",
    re.IGNORECASE,
)
_FACTOR = re.compile(r"(.+?)(?:\^(-?\d+))?", re.DOTALL)


class Quantity(NamedTuple):
    """A value, and the unit that stood beside it."""

    value: str
    # Canonical where it is known ("m/s^2"), the words themselves where not; None without one.
    unit: str | None


def split_unit(text: str) -> Quantity:
    """Take the unit off a tidy answer; without one, or of nothing but words, it stays whole."""
    currency = _CURRENCY.match(text)
    if currency is not None:
        rest = split_unit(text[currency.end() :])
        return Quantity(currency[1] + rest.value, _CURRENCIES[currency[2]])
    text = text.removesuffix(r"\$").rstrip() if text.endswith(r"\$") else text
    every = _EVERY.fullmatch(text)
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
    r"""One unit off all values of a list that have it: `45^\circ, 135^\circ`, "3 cm, 4 cm"."""
    parts = [split_unit(part) for part in split_top_level(text, ",")]
    units = {part.unit for part in parts} - {None}
    if len(parts) < 2 or len(units) != 1 or parts[-1].unit is None:
        return Quantity(text, None)
    return Quantity(", ".join(part.value for part in parts), parts[-1].unit)  # 45,135 is a number


def are_different_units(gold_unit: str | None, unit: str | None) -> bool:
    """ "5 m" is not "5 km", 12个 is not 12元, and "18 apples" are not "18 dollars"."""
    if gold_unit is None or unit is None or gold_unit == unit:
        return False
    known = is_known_unit(gold_unit), is_known_unit(unit)
    if all(known):
        counters = set(COUNTERS.values())
        is_count = gold_unit in counters and unit in counters
        return not (is_count and GENERIC_COUNTER in (gold_unit, unit))
    if not any(known):
        return False
    measure, phrase = (gold_unit, unit) if known[0] else (unit, gold_unit)
    names, words = set(_factors(measure)), set(re.split(r"[\s/·]", phrase.partition("^")[0]))
    return names <= MEASURES and not words & names and not words & _NEUTRAL_WORDS


def is_known_unit(unit: str) -> bool:
    """Is every factor of it the name of a unit?"""
    names = _factors(unit)
    return bool(names) and all(name in MEASURES or name in COUNTERS for name in names)


def unit_size(unit: str | None) -> tuple[str, Fraction] | None:
    """What it measures, and how many of the smallest unit of that kind it is; None: not known."""
    kinds, size = [], Fraction(1)
    for name, power in _factors(unit or "?").items():
        if name not in SIZES:
            return None
        kinds.append((SIZES[name][0], power))
        size *= SIZES[name][1] ** power
    return _spelled(kinds), size


def split_letter_unit(text: str) -> Quantity:
    """`20 m`: only beside a gold that has a unit are single letters one, and no variables."""
    tail = _LETTER_TAIL.search(text)
    if tail is None:
        return Quantity(text, None)
    return Quantity(text[: tail.start()].rstrip(), _canonical(tail[1], None, is_exact=True))


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
    r"""`5\text{ km}`; words that are no unit only behind a number: `n\text{ odd}` is no n."""
    tail = _TEXT_TAIL.search(text)
    if tail is None or _JOINING_WORD.search(tail[1]):
        return None
    words = tail[1].strip(" .,")
    value = text[: tail.start()].rstrip()
    if not words:
        return split_unit(value)
    unit = _canonical(words, tail[2] or tail[3], is_exact=True)
    is_unit = unit is None or is_known_unit(unit) or re.search(r"\d", value) is not None
    return Quantity(value, unit) if is_unit else None


def _rate_unit(text: str) -> Quantity | None:
    """Bare rates that are common: "10 m/s", "60 km/h", "2 g/cm^3"."""
    tail = _RATE_TAIL.search(text)
    if tail is None or (tail[2] and not (tail[2] in _RATE_TOPS and tail[3] in _RATE_BOTTOMS)):
        return None
    return Quantity(text[: tail.start()], _canonical(tail[1], tail[4], is_exact=True))


def _word_unit(text: str) -> Quantity | None:
    """Bare words that are no unit need a space before them: "42 apples", "5km", never "2ab"."""
    tail = _WORD_TAIL.search(text)
    if tail is None or _JOINING_WORD.search(tail[2]) or "\\" in text[tail.start() :]:
        return None
    unit = _canonical(tail[2], tail[3], is_exact=False)
    is_known = unit is None or is_known_unit(unit)
    is_attached_word = not tail[1] and tail[2].isascii() and not is_known
    if is_attached_word or (len(tail[2]) == 2 and tail[2].isascii() and not is_known):
        return None
    return Quantity(text[: tail.start()].rstrip(), unit)


@lru_cache(maxsize=4096)
def _canonical(words: str, power: str | None, *, is_exact: bool) -> str | None:
    """ "meters per second", "m s^{-1}" and "m/s" in one spelling; None where no unit is left.

    `is_exact`: single letters and other symbols are units, too.
    """
    words = words.translate({ord("("): " ", ord(")"): " ", ord("~"): " "}).replace("\\cdot", " ")
    words = words.replace("per cent", PERCENT).replace(" per ", "/").replace("/分", "/分钟")
    words = words.replace("/分钟钟", "/分钟")
    words = _SPEEDS.get(words.strip().lower(), words)
    factors: list[tuple[str, int]] = []
    for number, side in enumerate(words.split("/")):
        sign = 1 if number == 0 else -1
        factors += [(name, sign * size) for name, size in _side(side, is_exact)]
    if power and factors:
        name, sign = factors[-1][0], 1 if factors[-1][1] > 0 else -1
        factors[-1] = (name, sign * int(power))
    return _spelled(factors) if factors else None


def _side(words: str, is_exact: bool) -> list[tuple[str, int]]:
    """The factors of what stands before or after "per": "square cm" is cm with the power 2."""
    words = words.replace("平方", " square ").replace("立方", " cubic ").replace(".", " ")
    tokens = _unqualified(words.split())
    factors: list[tuple[str, int]] = []
    power, is_known = 1, True
    for token in tokens:
        if token.lower() in _POWERS_BEHIND and factors:
            factors[-1] = (factors[-1][0], _POWERS[token.lower()])
        elif token.lower() in _POWERS:
            power = _POWERS[token.lower()]
        elif token.lower() not in ("of", "the"):
            name, own_power, known = _named(token, is_exact)
            factors.append((name, own_power or power))
            power, is_known = 1, is_known and known
    if any(name in ("celsius", "fahrenheit") for name, _ in factors):
        factors = [factor for factor in factors if factor[0] != "degree"]
    if is_known or len(factors) < 2:
        return factors
    return [(" ".join(name for name, _ in factors), factors[-1][1])]


def _unqualified(tokens: list[str]) -> list[str]:
    while tokens and tokens[-1].lower() in _QUALIFIERS:
        last = tokens.pop().lower()
        if last in ("all", "total") and tokens and tokens[-1].lower() == "in":
            tokens.pop()
    return tokens


def _named(token: str, is_exact: bool) -> tuple[str, int | None, bool]:
    """A unit's name, the power written with it, and whether it is known."""
    tail = _POWER_TAIL.search(token)
    power = None
    if tail is not None and tail.start() > 0:
        token, power = token[: tail.start()], int(tail[1])
    if is_exact and token in SYMBOLS:
        return SYMBOLS[token], power, True
    word = token.lower()
    for spelling in (word, word.removesuffix("s"), word.removesuffix("es")):
        if spelling in UNIT_BY_WORD:
            return UNIT_BY_WORD[spelling], power, True
    if not word.isascii():  # 12个苹果, 12块钱: the unit stands first
        for end in range(min(4, len(word)), 0, -1):
            if word[:end] in UNIT_BY_WORD:
                return UNIT_BY_WORD[word[:end]], power, True
    return word, power, False


def _spelled(factors: list[tuple[str, int]]) -> str:
    def joined(chosen: Iterable[tuple[str, int]], mark: str) -> str:
        names = sorted(name if size == 1 else f"{name}^{size}" for name, size in chosen)
        return mark.join(names)

    top = joined(((name, size) for name, size in factors if size > 0), "·")
    bottom = joined(((name, -size) for name, size in factors if size < 0), "/")
    return f"{top}/{bottom}" if bottom else top


def _factors(unit: str) -> dict[str, int]:
    """A canonical unit taken apart: "m/s^2" is {"m": 1, "s": -2}."""
    powers: dict[str, int] = {}
    for number, side in enumerate(unit.split("/")):
        for factor in side.split("·"):
            match = _FACTOR.fullmatch(factor)
            if match is not None:
                size = int(match[2] or 1)
                powers[match[1]] = powers.get(match[1], 0) + (size if number == 0 else -size)
    return powers
