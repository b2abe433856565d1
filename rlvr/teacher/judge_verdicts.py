"""What a judge's reply says, however it wraps its JSON.

{"score": 7}, fenced, with prose around it, "7/10", a comma too many   --> {"score": 7.0}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["read_correctness", "read_scores"]

_DECODER = json.JSONDecoder(strict=False)
_MAX_OBJECTS = 200
_NUMBER = re.compile(r"\s*(\d{1,2}(?:\.\d{1,6})?)\s*(?:/\s*10)?\s*")
_YES = frozenset({"true", "yes", "correct"})
_NO = frozenset({"false", "no", "incorrect", "wrong"})


def read_scores(reply: str, keys: Sequence[str]) -> dict[str, float] | None:
    """A score from 0 to 10 for each key, from the last object that has all; None without one."""
    found = [scores for one in _objects(reply) if (scores := _scores(one, keys))]
    return found[-1] if found else _scores(_pairs(reply, keys), keys)


def read_correctness(reply: str) -> bool | None:
    """{"correct": true}, or {"correctness": "incorrect"} as DeepSeek's own judge writes it."""
    keys = ("correct", "correctness")
    said = [one[key] for one in _objects(reply) for key in keys if key in one]
    said = said or list(_pairs(reply, keys).values())
    words = [word for one in said if (word := str(one).strip().casefold()) in _YES | _NO]
    return words[-1] in _YES if words else None


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """JSON objects in a text, wherever they begin."""
    starts = [match.start() for match in re.finditer(r"\{", text)][-_MAX_OBJECTS:]
    for start in starts:
        try:
            value, _ = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _pairs(text: str, keys: Sequence[str]) -> dict[str, str]:
    """`key: value` where the JSON is broken (a comma too many, single quotes)."""
    found = {}
    for key in keys:
        pattern = rf"""\b{key}\b["']?\s{{0,4}}[:=]\s{{0,4}}["']?(\w[\w./ ]{{0,11}})"""
        values = re.findall(pattern, text, re.IGNORECASE)
        if values:
            found[key] = values[-1]
    return found


def _scores(values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, float] | None:
    scores = {key: _score(values.get(key)) for key in keys}
    found = {key: score for key, score in scores.items() if score is not None}
    return found if len(found) == len(keys) else None


def _score(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        value = float(match[1]) if match else None
    return float(value) if isinstance(value, int | float) and 0 <= value <= 10 else None
