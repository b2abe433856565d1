r"""Plain numbers, exactly: integers, decimals, repeating decimals, fractions and mixed numbers.

They decide most comparisons without a parser: values are int or Fraction, never float.
"""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["plain_number"]

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
