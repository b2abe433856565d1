"""Compare outputs with the expected ones.

Outputs are hostile: nothing here runs, hashes or decodes what a program wrote, and the time is
bounded by the sizes of both.

bytes of stdout:  tokens | lines | floats | multiset | json
encoded values:   json (types exact) | equal (Python's ==) | floats | multiset
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import itemgetter
from typing import Any, Final

from sandbox.literals import read_json

__all__ = ["STDOUT_MODES", "VALUE_MODES", "Tolerance", "same_stdout", "same_value"]

_MAX_NUMBER_BYTES = 64  # of a token
_NUMBER_BYTES = frozenset(b"0123456789+-.eE")
_LONGER_AT_MOST = 32  # right JSON is at most this many times as long
_SLACK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|a - b| <= max(absolute, relative * |expected|)."""

    absolute: float
    relative: float

    @classmethod
    def of(cls, tolerance: float | tuple[float, float] | None) -> Tolerance:
        """Read t, meaning |a - b| <= t * max(1, |expected|), or (absolute, relative).

        Raises:
            ValueError: a number is negative or not finite.
        """
        pair = tolerance if isinstance(tolerance, tuple | list) else (tolerance, tolerance)
        values = [1e-6 if value is None else value for value in pair]
        if len(values) != 2 or not all(
            isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < math.inf
            for v in values
        ):
            raise ValueError(
                f"tolerance is {tolerance!r}; allowed: t or (absolute, relative), >= 0"
            )
        return cls(*map(float, values))

    def holds(self, got: float, expected: float) -> bool:
        if not (math.isfinite(got) and math.isfinite(expected)):
            return got == expected
        return abs(got - expected) <= max(self.absolute, self.relative * abs(expected))


def same_stdout(got: bytes, expected: bytes, *, mode: str, tolerance: Tolerance) -> bool:
    """Return whether two outputs are the same; `mode` is one of STDOUT_MODES."""
    return STDOUT_MODES[mode](got, expected, tolerance)


def same_value(
    got: Any, expected: Any, *, mode: str, tolerance: Tolerance, tuple_is_list: bool = False
) -> bool:
    """Compare values encoded by `sandbox.literals`; `mode` is one of VALUE_MODES."""
    rules = _Rules(
        is_by_number=mode in ("equal", "floats"),
        tolerance=tolerance if mode == "floats" else None,
        tuple_is_list=tuple_is_list,
    )
    try:
        same = _same_multiset if mode == "multiset" else rules.same
        return same(rules.plain(got), rules.plain(expected))
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return False  # not written by the encoder


def _same_lines(got: bytes, expected: bytes, tolerance: Tolerance) -> bool:
    """Compare bytes except final line ends and carriage returns before a line end."""
    got, expected = (text.replace(b"\r\n", b"\n").rstrip(b"\n") for text in (got, expected))
    return got == expected


def _same_floats(got: bytes, expected: bytes, tolerance: Tolerance) -> bool:
    return all(
        a is not None and b is not None and (a == b or _are_close(a, b, tolerance))
        for a, b in zip_longest(got.split(), expected.split())
    )


def _are_close(got: bytes, expected: bytes, tolerance: Tolerance) -> bool:
    """Apply the tolerance, except to two whole numbers, which must be equal."""
    a, b = _number(got), _number(expected)
    if a is None or b is None:
        return False
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    try:
        return tolerance.holds(float(a), float(b))
    except OverflowError:
        return False


def _number(token: bytes) -> int | float | None:
    """Read a finite decimal number; no hexadecimal, underscore, nan or inf."""
    if len(token) > _MAX_NUMBER_BYTES or not _NUMBER_BYTES.issuperset(token):
        return None
    for kind in (int, float):
        try:
            number = kind(token)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


def _same_multiset_of_lines(got: bytes, expected: bytes, tolerance: Tolerance) -> bool:
    """Compare non-empty lines by their tokens, in any order."""

    def token_lines(text: bytes) -> list[list[bytes]]:
        return sorted(tokens for line in text.split(b"\n") if (tokens := line.split()))

    return token_lines(got) == token_lines(expected)


def _same_json(got: bytes, expected: bytes, tolerance: Tolerance) -> bool:
    if len(got) > _LONGER_AT_MOST * len(expected) + _SLACK_BYTES:
        return False
    try:
        return _typed(read_json(got)) == _typed(read_json(expected))
    except (ValueError, RecursionError):
        return False


def _typed(data: Any) -> Any:
    """Convert JSON so that True, 1 and 1.0 differ."""
    if isinstance(data, list):
        return [_typed(element) for element in data]
    if isinstance(data, dict):
        return {key: _typed(value) for key, value in data.items()}
    return data if isinstance(data, str) or data is None else (type(data).__name__, data)


STDOUT_MODES: Final[Mapping[str, Callable[[bytes, bytes, Tolerance], bool]]] = {
    "tokens": lambda got, expected, _: got.split() == expected.split(),
    "lines": _same_lines,
    "floats": _same_floats,
    "multiset": _same_multiset_of_lines,
    "json": _same_json,
}
VALUE_MODES: Final = ("json", "equal", "floats", "multiset")


@dataclass(frozen=True, slots=True)
class _Number:
    """A number that is compared by its value."""

    value: int | float | complex


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """The rules by which two encoded values are compared."""

    is_by_number: bool  # 1 == 1.0 == True
    tolerance: Tolerance | None
    tuple_is_list: bool

    def plain(self, data: Any) -> Any:
        """Convert containers to [kind, elements...], with sets and dictionaries sorted."""
        if isinstance(data, list):
            return ["list", *map(self.plain, data)]
        if not isinstance(data, dict):
            is_number = self.is_by_number and isinstance(data, int | float)
            return _Number(data) if is_number else data
        [(kind, content)] = data.items()
        if kind in _NUMBER_READERS:
            number = _NUMBER_READERS[kind](content)
            return _Number(number) if self.is_by_number else [kind, _number_text(number)]
        if kind == "bytes":
            return ["bytes", bytes.fromhex(content).hex()]
        if kind == "tuple":
            return ["list" if self.tuple_is_list else "tuple", *map(self.plain, content)]
        if kind in ("set", "frozenset"):
            return ["set", *sorted(_digest(self.plain(element)) for element in content)]
        if kind == "dict":
            pairs = ((_digest(self.plain(key)), self.plain(value)) for key, value in content)
            return ["dict", *map(list, sorted(pairs, key=itemgetter(0)))]
        raise ValueError(f"not an encoded literal: {kind!r:.40}")

    def same(self, got: Any, expected: Any) -> bool:
        """Compare two plain values."""
        if isinstance(got, list) and isinstance(expected, list):
            return len(got) == len(expected) and all(map(self.same, got, expected))
        if isinstance(got, _Number) and isinstance(expected, _Number):
            return got == expected or self._is_close(got.value, expected.value)
        return type(got) is type(expected) and bool(got == expected)

    def _is_close(self, got: complex, expected: complex) -> bool:
        if self.tolerance is None or isinstance(got, complex) or isinstance(expected, complex):
            return False
        return self.tolerance.holds(float(got), float(expected))


def _read_float(text: Any) -> float:
    if not isinstance(text, str):
        raise ValueError("an encoded float must be text")
    return float(text)


def _read_complex(parts: Sequence[Any]) -> complex:
    real, imag = (_read_float(part["float"]) if isinstance(part, dict) else part for part in parts)
    return complex(real, imag)


_NUMBER_READERS: Final[Mapping[str, Callable[[Any], int | float | complex]]] = {
    "int": lambda text: int(text, 16),
    "float": _read_float,
    "complex": _read_complex,
}


def _number_text(value: float | complex) -> str:
    """Return the same text for equal numbers such as 1, 1.0 and True."""
    if isinstance(value, complex):
        return repr(value) if value.imag else _number_text(value.real)
    is_whole = isinstance(value, int) or value.is_integer()
    return hex(int(value)) if is_whole else repr(value)


def _digest(plain: Any) -> str:
    """Return equal digests for equal values; their length does not depend on the nesting."""
    text = json.dumps(plain, default=lambda number: ["number", _number_text(number.value)])
    return hashlib.sha256(text.encode()).hexdigest()


def _same_multiset(got: Any, expected: Any) -> bool:
    """Compare the elements of two lists, tuples or sets in any order."""
    if not (isinstance(got, list) and isinstance(expected, list)):
        return type(got) is type(expected) and bool(got == expected)
    same_kind = got[0] == expected[0]
    return same_kind and sorted(map(_digest, got[1:])) == sorted(map(_digest, expected[1:]))
