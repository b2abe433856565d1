r"""Times of the day: 3:30 p.m. is 15:30 and 下午3点半, not 3:30 a.m.

A bare 3:30 says no half of the day, as a number says no unit: beside a gold of 3:30 p.m. it is
right, and so is 3:30 p.m. beside a gold of 3:30. With a leading zero or from 13 on it is a time
of 24 hours.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

__all__ = ["same_digits", "same_time"]

_MAX_CHARS = 60
_HALF_DAY = 12 * 60
_WORDS = {"noon": "12:00pm", "midnight": "12:00am", "中午12点": "12:00pm"}
_NOISE = re.compile(r"\\(?:text|mathrm|mbox|textrm)(?![A-Za-z])|[{}\s.~$]|\\[ ,;]|o'clock")
_TIME = re.compile(
    r"(?P<zh>上午|早上|早晨|凌晨|下午|晚上|傍晚|中午)?(?P<hour>\d{1,2})"
    r"(?P<mark>[:时点](?:(?P<minute>[0-5]\d)分?|(?P<half>半)|(?P<few>\d)分|整)?)?"
    r"(?P<en>am|pm|noon|midnight)?",
    re.ASCII,
)
_BARE = re.compile(r"\d{1,2}:[0-5]\d", re.ASCII)
_MORNING = ("上午", "早上", "早晨", "凌晨", "am", "midnight")


class _Time(NamedTuple):
    minutes: int  # since midnight; of half a day where that is not said
    is_whole_day: bool  # the half of the day is known
    is_said: bool  # it can be nothing but a time


def same_time(gold: str, answer: str) -> bool | None:
    """Whether both are one time of the day; None where the gold need not be one at all."""
    gold_time, time = _read(gold), _read(answer)
    if gold_time is None:
        return None
    if time is None:
        return False if gold_time.is_said else None
    if not gold_time.is_said and not time.is_said:
        return None  # 10:30 and 2:6 may be ratios
    if gold_time.is_whole_day and time.is_whole_day:
        return gold_time.minutes == time.minutes
    if not (gold_time.is_whole_day or time.is_whole_day):
        return gold_time.minutes % _HALF_DAY == time.minutes % _HALF_DAY
    bare = time if gold_time.is_whole_day else gold_time
    return gold_time.minutes % _HALF_DAY == time.minutes % _HALF_DAY and bare.minutes < 13 * 60


def same_digits(gold: str, answer: str) -> bool | None:
    """10:30 in another spelling of the same ratio is another time; 2:10 may be either."""
    if not _BARE.fullmatch(gold) or ":" not in answer:
        return None
    hour, minute = (int(part) for part in gold.split(":"))
    if hour > 24 or math.gcd(hour, minute) == 1:
        return None
    return answer.lstrip("0") == gold.lstrip("0")


def _read(text: str) -> _Time | None:
    if len(text) > _MAX_CHARS:
        return None
    bare = _NOISE.sub("", text.lower())
    match = _TIME.fullmatch(_WORDS.get(bare, bare))
    if match is None or not (match["mark"] or match["en"] or match["zh"]):
        return None
    hour = int(match["hour"])
    minute = 30 if match["half"] else int(match["minute"] or match["few"] or 0)
    half = match["en"] or match["zh"]
    if hour > (24 if half is None or match["zh"] else 12):
        return None
    is_said = bool(half) or "点" in bare or ("时" in bare and bool(match["minute"]))
    if half is not None and hour <= 12:
        hour = hour % 12 + (0 if half in _MORNING else 12)
    is_whole_day = half is not None or hour > 12 or match["hour"].startswith("0")
    return _Time((60 * hour + minute) % (2 * _HALF_DAY), is_whole_day, is_said)
