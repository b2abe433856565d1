r"""Plain numbers, exactly: integers, decimals, fractions and mixed numbers, in digits or in words.

They decide most comparisons without a parser: values are int or Fraction, never float. Words are
read in English and Chinese if they spell one number correctly: "forty-two" is 42 and 三分之一 is
1/3, while "one two" and 一二三 stay unchanged.
"""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["in_digits", "in_digits_before_unit", "plain_number"]

_MAX_DIGITS = 1000  # Python reads at most 4,300 digits, and no gold needs as many

_DECIMAL = re.compile(
    r"(?P<sign>[+-]?) ?(?P<whole>\d{1,3}(?:,\d{3})+(?![\d,])|\d*)(?:\.(?P<part>\d*))?"
    r"(?:(?:[eE]|(?: ?(?:\\times|\\cdot|\*) ?| x )10\^)(?P<power>\{[+-]?\d{1,3}\}|[+-]?\d{1,3}))?",
    re.ASCII,
)
_REPEATING = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d*)\.(?P<part>\d*?)"
    r"(?:\\(?:overline|bar) ?(?:\{(?P<under>\d+)\}|(?P<one>\d))|\((?P<bracket>\d+)\)"
    r"|\\dot ?(?:\{(?P<first>\d)\}|(?P<bare>\d))(?:(?P<middle>\d*)\\dot ?\{?(?P<last>\d)\}?)?"
    r"|(?P<shown>\d+?)(?P=shown)+(?:\.{3}|\\[lc]?dots))",
    re.ASCII,
)
_MIN_SHOWN_DIGITS = 3  # of a period before dots: 0.333... is 1/3, 0.33... is ambiguous
_FRACTION = re.compile(
    r"(?P<sign>[+-]?) ?(?P<whole>\d+)?\s*\\frac\{(?P<top>[+-]?\d+)\}\{(?P<bottom>[+-]?\d+)\}",
    re.ASCII,
)
_SLASHED = re.compile(
    r"(?P<sign>[+-]?) ?(?:(?P<whole>\d+) +)?(?P<top>\d+) ?/ ?(?P<bottom>[+-]?\d+)", re.ASCII
)

_MAX_WORD_CHARS = 200

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12
}  # fmt: skip
_PARTS = {
    "half": 2, "halves": 2, "quarter": 4, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "hundredth": 100,
}  # fmt: skip
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {
    word: 10 * value for value, word in enumerate(_TENS) if word != "-"
}
_ENGLISH = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+){0,30}")
_DIGITS_AND_SCALE = re.compile(
    r"(?P<digits>[+-]?[\d,.]{1,20}) ?(?P<scale>thousand|million|billion|trillion|[千万亿]|万亿)"
)
_CHINESE_DIGITS = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"两": 2}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_SCALES = {"万": 10**4, "亿": 10**8}
_CHINESE_SCALE_VALUES = {"千": 10**3, "万": 10**4, "亿": 10**8, "万亿": 10**12}
_SIGNED_DIGITS = re.compile(r"(?:minus|negative) |负|零下", re.IGNORECASE)
_CHINESE_START = re.compile("负?[零一二两三四五六七八九十百千万亿点分之]{1,30}")
_CHINESE = re.compile("(?P<sign>负?)(?P<number>[零一二两三四五六七八九十百千万亿点分之]{1,30})")


def plain_number(text: str) -> int | Fraction | None:
    r"""Return the exact value: -1080 for "-1,080"; 1/2 for "0.5", "1/2" and "\frac{1}{2}".

    None for any other text, for a denominator of 0 and for more than 1,000 characters.
    """
    if len(text) > _MAX_DIGITS:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    text = text.strip()
    decimal = _DECIMAL.fullmatch(text)
    if decimal is not None:
        return _decimal_value(decimal)
    repeating = _REPEATING.fullmatch(text)
    if repeating is not None:
        return _repeating_value(repeating)
    fraction = _FRACTION.fullmatch(text) or _SLASHED.fullmatch(text)
    return None if fraction is None else _fraction_value(fraction)


def _decimal_value(match: re.Match[str]) -> int | Fraction | None:
    sign, whole, part = match.group("sign", "whole", "part")
    if not whole and not part:
        return None
    digits = (whole or "0").replace(",", "")
    value: int | Fraction = int(digits)
    if part:
        value = Fraction(int(digits + part), 10 ** len(part))
    if match["power"]:
        value *= Fraction(10) ** int(match["power"].strip("{}"))
    return -value if sign == "-" else value


def _repeating_value(match: re.Match[str]) -> Fraction | None:
    r"""Return 1/6 for 0.1\overline{6}, 0.1(6), 0.1\dot{6} and 0.1666..."""
    sign, whole, part = match.group("sign", "whole", "part")
    period = match["under"] or match["one"] or match["bracket"] or match["shown"]
    if period is None:
        period = (match["first"] or match["bare"]) + (match["middle"] or "") + (match["last"] or "")
    elif match["shown"]:
        digits = match.group().rstrip("\\.lcdots")
        if len(digits) - match.start("shown") < max(_MIN_SHOWN_DIGITS, 2 * len(period)):
            return None
    nines = Fraction(int(period), int("9" * len(period)))
    value = (int((whole or "0") + part) + nines) / Fraction(10 ** len(part))
    return -value if sign == "-" else value


def _fraction_value(match: re.Match[str]) -> Fraction | None:
    sign, whole, top, bottom = match.group("sign", "whole", "top", "bottom")
    if int(bottom) == 0 or (whole and (int(top) < 0 or int(bottom) < 0)):
        return None
    value = int(whole or 0) + Fraction(int(top), int(bottom))
    return -value if sign == "-" else value


def in_digits(text: str) -> str:
    """Write a spelled number in digits or as "1/3"; return any other text unchanged."""
    stripped = text.strip().rstrip(".。")
    if stripped.startswith("百分之"):
        percent = _read_chinese(stripped.removeprefix("百分之"))
        return text if percent is None else rf"{percent}\%"
    if not stripped or len(stripped) > _MAX_WORD_CHARS:
        return text
    for read in (_read_scaled, _read_english, _read_chinese):
        value = read(stripped)
        if value is not None:
            return str(value)
    return text


def in_digits_before_unit(text: str) -> str:
    """Write 十二元 as 12元, "twelve dollars" as "12 dollars"; return any other text unchanged."""
    if len(text) > _MAX_WORD_CHARS:
        return text
    sign = _SIGNED_DIGITS.match(text)
    if sign is not None and text[sign.end() : sign.end() + 1].isdigit():
        return "-" + text[sign.end() :]
    start = _CHINESE_START.match(text)
    if start is not None and len(start.group()) < len(text):
        number = _read_chinese(start.group())
        return text if number is None else f"{number}{text[start.end() :]}"
    words = text.split(" ")
    for num_words in range(min(3, len(words) - 1), 0, -1):  # of the unit
        number = _read_english(" ".join(words[:-num_words]))
        if number is not None:
            return f"{number} {' '.join(words[-num_words:])}"
    return text


def _read_scaled(text: str) -> Fraction | None:
    match = _DIGITS_AND_SCALE.fullmatch(text)
    number = plain_number(match["digits"]) if match else None
    if match is None or number is None:
        return None
    return Fraction(number) * (_SCALES | _CHINESE_SCALE_VALUES)[match["scale"]]


def _read_english(text: str) -> Fraction | None:
    if not _ENGLISH.fullmatch(text):
        return None
    words = [word for word in re.split("[ -]", text.lower()) if word != "and"]
    sign = -1 if words[:1] in (["minus"], ["negative"]) else 1
    words = words[1:] if sign < 0 else words
    if words[:1] == ["a"] and len(words) > 1:
        words[0] = "one"
    if len(words) > 1 and (parts := _PARTS.get(words[-1]) or _PARTS.get(words[-1][:-1])):
        top = _read_english_whole(words[:-1])
        return None if not top else Fraction(sign * top, parts)
    if words == ["half"]:
        return Fraction(sign, 2)
    whole = _read_english_whole(words)
    return None if whole is None else Fraction(sign * whole)


def _read_english_whole(words: list[str]) -> int | None:
    """Read a whole number, unless its own spelling differs from these words."""
    total = current = 0
    for word in words:
        if word in _VALUES:
            current += _VALUES[word]
        elif word == "hundred":
            current *= 100
        elif word in _SCALES:
            total, current = total + current * _SCALES[word], 0
        else:
            return None
    value = total + current
    return value if words and _english_words(value) == words else None


def _english_words(value: int) -> list[str]:
    """Return the English words of a number below 10**15, without "and"."""
    if value < 20:
        return [_SMALL[value]]
    if value < 100:
        words, rest = [_TENS[value // 10]], value % 10
    else:
        scale = next(word for word in reversed(_SCALES) if _SCALES[word] <= value)
        count, rest = divmod(value, _SCALES[scale])
        words = [*_english_words(count), scale]
    return words + (_english_words(rest) if rest else [])


def _read_chinese(text: str) -> Fraction | None:
    match = _CHINESE.fullmatch(text)
    if match is None:
        return None
    sign = -1 if match["sign"] else 1
    bottom, is_fraction, top = match["number"].partition("分之")
    if is_fraction:
        over, under = _read_chinese_whole(top), _read_chinese_whole(bottom)
        return Fraction(sign * over, under) if over is not None and under else None
    whole, has_point, part = match["number"].partition("点")
    value = _read_chinese_whole(whole)
    is_decimal = all(mark in _CHINESE_DIGITS for mark in part) and bool(part or not has_point)
    if value is None or not is_decimal:
        return None
    decimals = "".join(str(_CHINESE_DIGITS[mark]) for mark in part)
    return sign * (value + Fraction(int(decimals or "0"), 10 ** len(decimals)))


def _read_chinese_whole(text: str) -> int | None:
    """Read a whole number; digits read one by one are none."""
    if not text:
        return None
    for mark, size in reversed(_CHINESE_SCALES.items()):
        head, found, tail = text.rpartition(mark)
        if found:
            above = _read_chinese_whole(head)
            below = _read_chinese_whole(tail.removeprefix("零")) if tail else 0
            if above is None or below is None or below >= size:
                return None
            return above * size + below
    return _read_chinese_section(text)


def _read_chinese_section(text: str) -> int | None:
    """Read a number below 10,000, in which units decrease."""
    if "零零" in text:
        return None
    value, digit, last_unit = 0, None, 10_000
    for mark in text:
        if mark == "零" and text != "零":
            continue
        if mark in _CHINESE_DIGITS:
            if digit is not None:
                return None
            digit = _CHINESE_DIGITS[mark]
        elif mark in _CHINESE_UNITS and _CHINESE_UNITS[mark] < last_unit:
            last_unit = _CHINESE_UNITS[mark]
            value += (1 if digit is None else digit) * last_unit
            digit = None
        else:
            return None
    return value + (digit or 0)
