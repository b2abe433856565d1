"""Names and sizes of units, in English and Chinese: a unit's canonical name, what it measures.

A unit is a product of named units with powers: "m/s^2" is `{"m": 1, "s": -2}`.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["COUNTERS", "GENERIC_COUNTER", "MEASURES", "PERCENT", "SIZES", "SYMBOLS", "UNIT_BY_WORD"]

PERCENT = "percent"
GENERIC_COUNTER = "个"  # counts anything

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
# What Chinese counts with: words of one line mean the same.
_COUNTER_LINES = (
    "个 人名位 只 本 支枝 条 张 辆 棵 头 匹 朵 件 双 对 袋 箱 盒 瓶 杯 页 道题 次 组 种 班 排 行 "
    "列 根 颗粒 座 栋 层 架 艘 套 台 把 份 筐 桶 包 间 户 字 步 圈 面 盆 段 节 束 壶 碗 盘"
)
COUNTERS = {word: line[0] for line in _COUNTER_LINES.split() for word in line} | {"个人": "人"}
_ENGLISH_UNITS = {word: unit for unit, words in _UNITS.items() for word in words.split()}
UNIT_BY_WORD = _CHINESE_UNITS | COUNTERS | _ENGLISH_UNITS
# Spelled exactly so, inside \text{} or beside a gold that has a unit.
_SELF_NAMED = (
    "m g s h l in mi km cm mm dm kg mg ml min N kN J kJ W kW V A Hz Pa kPa K mol C T eV kWh MJ MW "
    "mV mA kV"
)
SYMBOLS = {unit: unit for unit in _SELF_NAMED.split(" ")} | {
    "L": "l",
    "mL": "ml",
    "Ω": "ohm",
    "kΩ": "kohm",
}
MEASURES = frozenset(_UNITS) | frozenset(_CHINESE_UNITS.values()) | frozenset(SYMBOLS.values())

_KINDS: dict[str, dict[str, int]] = {
    "length": {"km": 10**6, "m": 1000, "dm": 100, "cm": 10, "mm": 1},
    "imperial": {"mi": 63360, "yd": 36, "ft": 12, "in": 1},
    "time": {"week": 604800, "day": 86400, "h": 3600, "min": 60, "s": 1},
    "mass": {"ton": 10**9, "kg": 10**6, "g": 1000, "mg": 1},
    "weight": {"lb": 16, "oz": 1},
    "volume": {"l": 1000, "ml": 1},
    "dollars": {"dollar": 100, "cent": 1},
    "yuan": {"yuan": 10, "jiao": 1},
    "force": {"kN": 1000, "N": 1},
    "energy": {"kWh": 3600000, "MJ": 10**6, "kJ": 1000, "J": 1},
    "power": {"MW": 10**6, "kW": 1000, "W": 1},
    "voltage": {"kV": 10**6, "V": 1000, "mV": 1},
    "resistance": {"kohm": 1000, "ohm": 1},
    "current": {"A": 1000, "mA": 1},
    "pressure": {"kPa": 1000, "Pa": 1},
}
SIZES = {
    unit: (kind, Fraction(size)) for kind, sizes in _KINDS.items() for unit, size in sizes.items()
}
