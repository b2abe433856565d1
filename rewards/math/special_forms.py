r"""Notations with rules of their own: bases, remainders, times of the day, numbers of choices.

    204_6, (204)_6, 204_{\text{six}}, 204 base 6     204_{6}; the base may be omitted
    17 \bmod 5                                       2
    x \equiv 8 \pmod 5                               x \equiv 3 \pmod 5
    3:30 p.m., 15:30, 下午3点半                       one time; not 3:30 a.m.
    C_{10}^3, {}_{10}C_3, C(10,3)                    \binom{10}{3}

`same_*` functions return None if no rule applies.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import NamedTuple

__all__ = ["choices_of_call", "rewrite_special_forms", "same_special_form", "same_time"]

_BASE_NAMES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "sixteen": "16",
}  # fmt: skip
_BASE_DIGITS = (
    r"(?P<sign>-?)(?:\\(?:text|mathrm)\{ ?)?"
    r"(?P<digits>[0-9A-Fa-f]{1,100}(?:\.[0-9A-Fa-f]{1,100})?)\}?"
)
_BASE = rf"(?:\\text\{{ ?)?(?P<base>\d{{1,2}}|{'|'.join(_BASE_NAMES)})\}}?"
_IN_BASE = re.compile(rf"\(?{_BASE_DIGITS}\)?(?:_\{{?\(?{_BASE}\)?\}}?)", re.ASCII)
_IN_WORDS = re.compile(
    rf"{_BASE_DIGITS} ?(?:\\text\{{)? ?\(?(?:in )?base[ -]?{_BASE}\)?\}}?", re.ASCII | re.IGNORECASE
)

_BMOD = re.compile(r"([+-]?\d{1,50}) ?\\bmod ?\{?(\d{1,50})\}?", re.ASCII)
_RESIDUE = re.compile(
    r"(?:(?P<name>[A-Za-z]) ?\\equiv ?)?(?P<rest>[+-]?\d{1,50}) ?"
    r"(?:\\p?mod ?\{?|\((?:mod|\\(?:text|mathrm)\{ ?mod ?\}) ?)(?P<modulus>\d{1,50})[})]?",
    re.ASCII,
)

_MAX_TIME_CHARS = 60
_HALF_DAY = 12 * 60
_TIME_WORDS = {"noon": "12:00pm", "midnight": "12:00am", "中午12点": "12:00pm"}
_TIME_NOISE = re.compile(r"\\(?:text|mathrm|mbox|textrm)(?![A-Za-z])|[{}\s.~$]|\\[ ,;]|o'clock")
_TIME = re.compile(
    r"(?P<zh>上午|早上|早晨|凌晨|下午|晚上|傍晚|中午)?(?P<hour>\d{1,2})"
    r"(?P<mark>[:时点](?:(?P<minute>[0-5]\d)分?|(?P<half>半)|(?P<few>\d)分|整)?)?"
    r"(?P<en>am|pm|noon|midnight)?",
    re.ASCII,
)
_BARE_TIME = re.compile(r"\d{1,2}:[0-5]\d", re.ASCII)
_MORNING = ("上午", "早上", "早晨", "凌晨", "am", "midnight")

_NUMBER = r"(?:\{(\d{1,4}|[nm])\}|(\d|[nm]))"
_SMALL = r"(?:\{(\d{1,4}|[a-z])\}|(\d|[a-z]))"
_LETTER = r"(?:\\(?:mathrm|text|mathbf)\{ ?([CAP]) ?\}|(?<![\\A-Za-z])([CAP]))"
_BELOW_ABOVE = re.compile(_LETTER + "_" + _NUMBER + r"\^" + _SMALL)
_ABOVE_BELOW = re.compile(_LETTER + r"\^" + _SMALL + "_" + _NUMBER)
_BEFORE_AFTER = re.compile(
    r"(?:\{\}|(?<![\w)}\]]))[_^]" + _NUMBER + _LETTER.replace(r"(?<![\\A-Za-z])", "") + "_" + _SMALL
)
_INLINE_CHOICES = re.compile(r"(\d{1,4})([CP])(\d{1,4})", re.ASCII)
_CHOICES_CALL = re.compile(r"([CP])\((\d{1,4}),(\d{1,4})\)", re.ASCII)
# Each pattern with the places of its letter, total and chosen number.
_CHOICES = ((_BEFORE_AFTER, (1, 0, 2)), (_BELOW_ABOVE, (0, 1, 2)), (_ABOVE_BELOW, (0, 2, 1)))


def rewrite_special_forms(text: str) -> str:
    r"""Write bases in digits, a \bmod m as a number, and numbers of choices as \binom."""
    number = _parse_base(text)
    if number is not None:
        return f"{number[0]}{number[1]}_{{{number[2]}}}"
    text = _with_binomials(text)
    bmod = _BMOD.fullmatch(text)
    return str(int(bmod[1]) % int(bmod[2])) if bmod and int(bmod[2]) else text


def same_special_form(gold: str, answer: str) -> bool | None:
    """Compare numbers in a base, readings of a clock and residue classes."""
    results = (rule(gold, answer) for rule in (_same_in_base, _same_clock_reading, _same_residue))
    return next((result for result in results if result is not None), None)


def _same_in_base(gold: str, answer: str) -> bool | None:
    """Compare digits and base: 5 is not 101_2."""
    gold_number, number = _parse_base(gold), _parse_base(answer)
    if gold_number is None:
        return None if number is None or number[2] == "10" else False
    sign, digits, base = gold_number
    digits = digits.upper().lstrip("0")
    if number is None:
        return answer.upper() == sign + digits
    return (number[0], number[1].upper().lstrip("0"), number[2]) == (sign, digits, base)


def _parse_base(text: str) -> tuple[str, str, str] | None:
    """Return sign, digits and base."""
    match = _IN_BASE.fullmatch(text) or _IN_WORDS.fullmatch(text)
    if match is None or not match["digits"][0].isdigit():
        return None
    base = match["base"].lower()
    return match["sign"], match["digits"], _BASE_NAMES.get(base, base)


def _same_residue(gold: str, answer: str) -> bool | None:
    first, second = _RESIDUE.fullmatch(gold), _RESIDUE.fullmatch(answer)
    if first is None:
        return None
    if second is None:
        return False
    modulus = int(first["modulus"])
    names = {first["name"], second["name"]} - {None}
    if not modulus or modulus != int(second["modulus"]) or len(names) > 1:
        return False
    return (int(first["rest"]) - int(second["rest"])) % modulus == 0


class _Time(NamedTuple):
    minutes: int  # since midnight, or since midnight or noon
    has_half: bool  # the half of the day is known
    is_certain: bool  # the text can only be a time


def same_time(gold: str, answer: str) -> bool | None:
    """Compare times of the day; a bare 3:30 matches both a.m. and p.m.

    A leading zero or an hour from 13 on is a time of 24 hours.
    """
    gold_time, time = _parse_time(gold), _parse_time(answer)
    if gold_time is None:
        return None
    if time is None:
        return False if gold_time.is_certain else None
    if not gold_time.is_certain and not time.is_certain:
        return None  # 10:30 and 2:6 may be ratios
    if gold_time.has_half and time.has_half:
        return gold_time.minutes == time.minutes
    return gold_time.minutes % _HALF_DAY == time.minutes % _HALF_DAY


def _same_clock_reading(gold: str, answer: str) -> bool | None:
    """Compare the digits of 10:30, as an equal ratio is another time; 2:10 may be either."""
    if not _BARE_TIME.fullmatch(gold) or ":" not in answer:
        return None
    hour, minute = (int(part) for part in gold.split(":"))
    if hour > 24 or math.gcd(hour, minute) == 1:
        return None
    return answer.lstrip("0") == gold.lstrip("0")


def _parse_time(text: str) -> _Time | None:
    if len(text) > _MAX_TIME_CHARS:
        return None
    bare = _TIME_NOISE.sub("", text.lower())
    match = _TIME.fullmatch(_TIME_WORDS.get(bare, bare))
    if match is None or not (match["mark"] or match["en"] or match["zh"]):
        return None
    hour = int(match["hour"])
    minute = 30 if match["half"] else int(match["minute"] or match["few"] or 0)
    half = match["en"] or match["zh"]
    if hour > (24 if half is None or match["zh"] else 12):
        return None
    is_certain = bool(half) or "点" in bare or ("时" in bare and bool(match["minute"]))
    if half is not None and hour <= 12:
        hour = hour % 12 + (0 if half in _MORNING else 12)
    has_half = half is not None or hour > 12 or match["hour"].startswith("0")
    return _Time((60 * hour + minute) % (2 * _HALF_DAY), has_half, is_certain)


def _with_binomials(text: str) -> str:
    r"""Write numbers of choices as \binom or a quotient of factorials; leave C(10,3)."""
    if not any(letter in text for letter in "CAP"):
        return text
    inline = _INLINE_CHOICES.fullmatch(text)
    if inline is not None:
        return _count(inline[2], inline[1], inline[3]) or text
    for pattern, places in _CHOICES:
        text = pattern.sub(partial(_rewrite_choices, places=places), text)
    return text


def choices_of_call(text: str) -> str | None:
    """Return the number written C(10,3) or P(6,3), which may also be a point; else None."""
    call = _CHOICES_CALL.fullmatch(text)
    return None if call is None else _count(*call.groups())


def _rewrite_choices(match: re.Match[str], places: tuple[int, int, int]) -> str:
    groups = match.groups(default="")
    letter, total, chosen = (groups[2 * place] or groups[2 * place + 1] for place in places)
    return _count(letter, total, chosen) or match.group()


def _count(letter: str, total: str, chosen: str) -> str | None:
    is_number = total.isdigit()
    if is_number and (not chosen.isdigit() or int(total) < int(chosen)):
        return None
    if letter == "C":
        return rf"\binom{{{total}}}{{{chosen}}}"
    return rf"\frac{{{total}!}}{{{int(total) - int(chosen)}!}}" if is_number else None
