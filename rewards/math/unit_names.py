"""Names of units in English and Chinese, and what each measures.

A canonical unit is a product of named units with powers, such as "m/s^2" or "N·m".
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

__all__ = ["PERCENT", "SYMBOLS", "canonical_unit", "is_known_unit", "unit_size", "units_differ"]

PERCENT = "percent"
_GENERIC_COUNTER = "个"  # counts anything

_UNITS = {
    "km": "km kilometer kilometre", "m": "meter metre", "cm": "cm centimeter centimetre",
    "dm": "dm decimeter decimetre", "mm": "mm millimeter millimetre", "mi": "mile",
    "ft": "ft foot feet", "in": "inch inches", "yd": "yd yard", "kg": "kg kilogram", "g": "gram",
    "mg": "mg milligram", "lb": "lb lbs pound", "oz": "oz ounce", "ton": "ton tonne",
    "l": "liter litre", "ml": "ml milliliter millilitre", "gal": "gal gallon", "s": "sec second",
    "min": "min minute", "h": "hr hrs hour", "day": "day", "week": "week", "month": "month",
    "year": "yr year", "dollar": "dollar usd buck",
    "cent": "cent", "euro": "euro eur", "yuan": "yuan rmb", "jiao": "jiao", "yen": "yen jpy",
    "gbp": "gbp", "degree": "degree deg", PERCENT: "percent percentage pct",
    "radian": "rad radian", "celsius": "celsius", "fahrenheit": "fahrenheit", "N": "newton",
    "kN": "kn", "J": "joule", "kJ": "kj kilojoule", "W": "watt", "kW": "kw kilowatt", "V": "volt",
    "A": "amp ampere", "ohm": "ohm", "Hz": "hz hertz", "Pa": "pa pascal", "kPa": "kpa",
    "K": "kelvin", "mol": "mol mole", "C": "coulomb", "T": "tesla", "eV": "ev", "kWh": "kwh",
    "acre": "acre", "times": "times",
}  # fmt: skip
_CHINESE_UNITS = {
    "千米": "km", "公里": "km", "米": "m", "分米": "dm", "厘米": "cm", "毫米": "mm", "千克": "kg",
    "公斤": "kg", "克": "g", "毫克": "mg", "吨": "ton", "升": "l", "毫升": "ml", "秒": "s",
    "秒钟": "s", "分钟": "min", "小时": "h", "个小时": "h", "时": "h", "天": "day", "日": "day",
    "周": "week", "星期": "week", "个星期": "week", "月": "month", "个月": "month", "年": "year",
    "元": "yuan", "块": "yuan", "角": "jiao", "美元": "dollar", "美分": "cent", "欧元": "euro",
    "日元": "yen", "英镑": "gbp", "度": "degree", "摄氏度": "celsius", "牛": "N", "牛顿": "N",
    "焦": "J", "焦耳": "J", "千焦": "kJ", "瓦": "W", "瓦特": "W", "千瓦": "kW", "伏": "V",
    "伏特": "V", "安": "A", "安培": "A", "欧": "ohm", "欧姆": "ohm", "赫兹": "Hz", "帕": "Pa",
    "公顷": "hectare", "岁": "year", "倍": "times",
}  # fmt: skip
# Chinese measure words; those of one group mean the same.
_COUNTER_LINES = (
    "个 人名位 只 本 支枝 条 张 辆 棵 头 匹 朵 件 双 对 袋 箱 盒 瓶 杯 页 道题 次 组 种 班 排 行 "
    "列 根 颗粒 座 栋 层 架 艘 套 台 把 份 筐 桶 包 间 户 字 步 圈 面 盆 段 节 束 壶 碗 盘"
)
_COUNTERS = {word: line[0] for line in _COUNTER_LINES.split() for word in line} | {"个人": "人"}
_ENGLISH_UNITS = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_UNIT_BY_WORD = _CHINESE_UNITS | _COUNTERS | _ENGLISH_UNITS
# Symbols: case-sensitive, and units only inside \text{} or where the gold has a unit.
_SELF_NAMED = (
    "m g s h l in mi km cm mm dm kg mg ml min N kN J kJ W kW V A Hz Pa kPa K mol C T eV kWh MJ MW "
    "mV mA kV"
)
SYMBOLS = {unit: unit for unit in _SELF_NAMED.split(" ")}
SYMBOLS |= {"L": "l", "mL": "ml", "Ω": "ohm", "kΩ": "kohm"}
_MEASURES = frozenset(_UNITS) | frozenset(_CHINESE_UNITS.values()) | frozenset(SYMBOLS.values())

_KINDS: dict[str, dict[str, int]] = {
    "length": {"km": 10**6, "m": 1000, "dm": 100, "cm": 10, "mm": 1},
    "imperial": {"mi": 63360, "yd": 36, "ft": 12, "in": 1},
    "time": {"week": 604800, "day": 86400, "h": 3600, "min": 60, "s": 1},
    "mass": {"ton": 10**9, "kg": 10**6, "g": 1000, "mg": 1}, "weight": {"lb": 16, "oz": 1},
    "volume": {"l": 1000, "ml": 1}, "dollars": {"dollar": 100, "cent": 1},
    "yuan": {"yuan": 10, "jiao": 1}, "force": {"kN": 1000, "N": 1},
    "energy": {"kWh": 3600000, "MJ": 10**6, "kJ": 1000, "J": 1},
    "power": {"MW": 10**6, "kW": 1000, "W": 1}, "voltage": {"kV": 10**6, "V": 1000, "mV": 1},
    "resistance": {"kohm": 1000, "ohm": 1}, "current": {"A": 1000, "mA": 1},
    "pressure": {"kPa": 1000, "Pa": 1},
}  # fmt: skip
_SIZES = {
    unit: (kind, Fraction(size)) for kind, sizes in _KINDS.items() for unit, size in sizes.items()
}
_SPEEDS = {"mph": "mi/h", "kmh": "km/h", "kmph": "km/h", "kph": "km/h"}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
# Dropped after a unit: "5 cm long" is 5 cm. "in" is dropped only in "in all" and "in total".
_QUALIFIERS = {
    "long", "tall", "wide", "high", "deep", "thick", "old", "away", "apart", "total", "altogether",
    "all", "left", "remaining", "each", "more", "only", "exactly",
}  # fmt: skip
_POWER_TAIL = re.compile(r"\^?\{?(-?\d)\}?$", re.ASCII)
_FACTOR = re.compile(r"(.+?)(?:\^(-?\d+))?", re.DOTALL)


@lru_cache(maxsize=4096)
def canonical_unit(words: str, power: str | None, *, is_exact: bool) -> str | None:
    """Return "m/s" for "meters per second" and "m s^{-1}"; None for words that name no unit.

    `power` is the exponent after the last unit. With `is_exact`, symbols such as "m" are units.
    """
    words = words.translate({ord("("): " ", ord(")"): " ", ord("~"): " "}).replace("\\cdot", " ")
    words = words.replace("per cent", PERCENT).replace(" per ", "/").replace("/分", "/分钟")
    words = words.replace("/分钟钟", "/分钟")
    words = _SPEEDS.get(words.strip().lower(), words)
    factors: list[tuple[str, int]] = []
    for number, side in enumerate(words.split("/")):
        sign = 1 if number == 0 else -1
        factors += [(name, sign * size) for name, size in _parse_product(side, is_exact)]
    if power and factors:
        name, sign = factors[-1][0], 1 if factors[-1][1] > 0 else -1
        factors[-1] = (name, sign * int(power))
    return _join_factors(factors) if factors else None


def is_known_unit(unit: str) -> bool:
    """Whether every factor is the name of a unit."""
    names = _split_factors(unit)
    return bool(names) and all(name in _MEASURES or name in _COUNTERS for name in names)


def unit_size(unit: str | None) -> tuple[str, Fraction] | None:
    """Return the kind of a unit and its size in the smallest unit of that kind, if known."""
    kinds, size = [], Fraction(1)
    for name, power in _split_factors(unit or "?").items():
        if name not in _SIZES:
            return None
        kinds.append((_SIZES[name][0], power))
        size *= _SIZES[name][1] ** power
    return _join_factors(kinds), size


def units_differ(gold_unit: str | None, unit: str | None) -> bool:
    """Whether two units exclude each other: m and km, 个 and 元, "apples" and "dollars"."""
    if gold_unit is None or unit is None or gold_unit == unit:
        return False
    known = is_known_unit(gold_unit), is_known_unit(unit)
    if all(known):
        counters = set(_COUNTERS.values())
        is_count = gold_unit in counters and unit in counters
        return not (is_count and _GENERIC_COUNTER in (gold_unit, unit))
    if not any(known):
        return False
    measure, phrase = (gold_unit, unit) if known[0] else (unit, gold_unit)
    names, words = set(_split_factors(measure)), set(re.split(r"[\s/·]", phrase.partition("^")[0]))
    return names <= _MEASURES and not words & names and not words & {"unit", "units"}


def _parse_product(words: str, is_exact: bool) -> list[tuple[str, int]]:
    """Parse one side of "per" into names and powers: "square cm" is cm with power 2."""
    words = words.replace("平方", " square ").replace("立方", " cubic ").replace(".", " ")
    factors: list[tuple[str, int]] = []
    power, is_known = 1, True
    for token in _without_qualifiers(words.split()):
        if token.lower() in ("squared", "cubed") and factors:
            factors[-1] = (factors[-1][0], _POWERS[token.lower()])
        elif token.lower() in _POWERS:
            power = _POWERS[token.lower()]
        elif token.lower() not in ("of", "the"):
            name, own_power, known = _parse_unit(token, is_exact)
            factors.append((name, own_power or power))
            power, is_known = 1, is_known and known
    if any(name in ("celsius", "fahrenheit") for name, _ in factors):
        factors = [factor for factor in factors if factor[0] != "degree"]
    if is_known or len(factors) < 2:
        return factors
    return [(" ".join(name for name, _ in factors), factors[-1][1])]


def _without_qualifiers(tokens: list[str]) -> list[str]:
    while tokens and tokens[-1].lower() in _QUALIFIERS:
        last = tokens.pop().lower()
        if last in ("all", "total") and tokens and tokens[-1].lower() == "in":
            tokens.pop()
    return tokens


def _parse_unit(token: str, is_exact: bool) -> tuple[str, int | None, bool]:
    """Return the name of a unit, the power written after it, and whether the unit is known."""
    tail = _POWER_TAIL.search(token)
    power = None
    if tail is not None and tail.start() > 0:
        token, power = token[: tail.start()], int(tail[1])
    if is_exact and token in SYMBOLS:
        return SYMBOLS[token], power, True
    word = token.lower()
    spellings = [word, word.removesuffix("s"), word.removesuffix("es")]
    if not word.isascii():  # 12个苹果, 12块钱: the unit is a prefix
        spellings += [word[:end] for end in range(min(4, len(word)), 0, -1)]
    name = next((_UNIT_BY_WORD[s] for s in spellings if s in _UNIT_BY_WORD), None)
    return (word, power, False) if name is None else (name, power, True)


def _join_factors(factors: list[tuple[str, int]]) -> str:
    def join(sign: int, mark: str) -> str:
        chosen = [(name, sign * power) for name, power in factors if sign * power > 0]
        return mark.join(
            sorted(name if power == 1 else f"{name}^{power}" for name, power in chosen)
        )

    top, bottom = join(1, "·"), join(-1, "/")
    return f"{top}/{bottom}" if bottom else top


def _split_factors(unit: str) -> dict[str, int]:
    """Return the powers in a canonical unit: {"m": 1, "s": -2} for "m/s^2"."""
    powers: dict[str, int] = {}
    for number, side in enumerate(unit.split("/")):
        for factor in side.split("·"):
            match = _FACTOR.fullmatch(factor)
            if match is not None:
                size = int(match[2] or 1)
                powers[match[1]] = powers.get(match[1], 0) + (size if number == 0 else -size)
    return powers
