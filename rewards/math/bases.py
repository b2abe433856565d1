r"""Numbers in another base: 204_6 is 204_{6}, (204)_6, 204_{\text{six}} and 204 base 6.

A base may be left out, as a unit may. 101_2 and 5 are one value, but asked for the one the other
is no answer: the base is part of what was asked for.
"""

from __future__ import annotations

import re

__all__ = ["base_in_figures", "same_in_base"]

_NAMES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "sixteen": "16",
}  # fmt: skip
_DIGITS = (
    r"(?P<sign>-?)(?:\\(?:text|mathrm)\{ ?)?"
    r"(?P<digits>[0-9A-Fa-f]{1,100}(?:\.[0-9A-Fa-f]{1,100})?)\}?"
)
_BASE = rf"(?:\\text\{{ ?)?(?P<base>\d{{1,2}}|{'|'.join(_NAMES)})\}}?"
_IN_BASE = re.compile(rf"\(?{_DIGITS}\)?(?:_\{{?\(?{_BASE}\)?\}}?)", re.ASCII)
_IN_WORDS = re.compile(
    rf"{_DIGITS} ?(?:\\text\{{)? ?\(?(?:in )?base[ -]?{_BASE}\)?\}}?", re.ASCII | re.IGNORECASE
)


def same_in_base(gold: str, answer: str) -> bool | None:
    """Digits and base are the same; None where neither names a base."""
    gold_number, number = _read(gold), _read(answer)
    if gold_number is None:
        if number is None or number[1] == "10":
            return None
        return False
    if number is None:
        return answer.upper() == gold_number[0]
    return number == gold_number


def base_in_figures(text: str) -> str:
    r"""101_{\text{two}} as 101_{2}; every other text as it is."""
    match = _IN_BASE.fullmatch(text) or _IN_WORDS.fullmatch(text)
    if match is None or not match["digits"][0].isdigit():
        return text
    base = match["base"].lower()
    return f"{match['sign']}{match['digits']}_{{{_NAMES.get(base, base)}}}"


def _read(text: str) -> tuple[str, str] | None:
    """Digits without leading zeros, and the base."""
    match = _IN_BASE.fullmatch(text) or _IN_WORDS.fullmatch(text)
    if match is None or not match["digits"][0].isdigit():
        return None
    base = match["base"].lower()
    return match["sign"] + match["digits"].upper().lstrip("0"), _NAMES.get(base, base)
