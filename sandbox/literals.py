"""Encode Python literals as JSON and decode them; types are kept (tuple, 1, 1.0 and True differ).

None, bool, str, finite float, list and int of at most 64 bits are encoded as themselves; the rest
as an object with one key that names the type: {"tuple": [...]}, {"dict": [[key, value], ...]}, ...
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["decode", "encode", "read_frame", "read_json", "split_frames"]

_MAX_DEPTH = 100
_SMALL = 1 << 63
_MAX_DIGITS = 4000


def encode(
    value: Any, *, other: Callable[[Any], Any] | None = None, depth: int = _MAX_DEPTH
) -> Any:
    """Return a value for `json.dumps`; `other` encodes everything that is not a literal.

    An instance of a subclass of a literal's type (Counter, namedtuple, IntEnum) is encoded as that
    type, with that type's own methods, so its overridden methods have no effect.

    Raises:
        TypeError: the value contains something that is not a literal.
        ValueError: it is nested deeper than 100 levels.
    """
    if value is None or value is True or value is False:
        return value
    if depth == 0:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value, lambda element: encode(element, other=other, depth=depth - 1))
    if other is not None:
        return other(value)
    raise TypeError(
        f"{type(value).__name__} is not a literal (None, bool, int, float, str, list, ...)"
    )


def decode(data: Any, *, other: Callable[[Any], Any] | None = None) -> Any:
    """Invert `encode`; `other` decodes the output of its `other`.

    Raises:
        ValueError: the data was not made by `encode`, or has unhashable keys or elements.
    """
    if isinstance(data, list):
        return [decode(element, other=other) for element in data]
    if not isinstance(data, dict):
        return data
    try:
        [(name, content)] = data.items()
        if name not in _READERS and other is not None:
            return other(data)
        return _READERS[name](content, lambda element: decode(element, other=other))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not an encoded literal: {error!s:.100}") from error


def read_frame(frame: bytes) -> Any:
    """Return the encoded value of exactly one frame: u32 length, then JSON {"value": ...}.

    Raises:
        ValueError: it is not one whole frame, or its JSON is nested too deep.
    """
    if len(frame) < 4 or struct.unpack_from("=I", frame)[0] != len(frame) - 4:
        raise ValueError("not one whole result")
    content = read_json(frame[4:])
    if not isinstance(content, dict) or list(content) != ["value"]:
        raise ValueError("a result without a value")
    return content["value"]


def split_frames(data: bytes) -> list[bytes]:
    """Split the data into whole frames; returns none if anything is left over."""
    frames, start = [], 0
    while len(data) - start >= 4:
        end = start + 4 + int(struct.unpack_from("=I", data, start)[0])
        frames.append(data[start:end])
        start = end
    return frames if start == len(data) else []


def read_json(text: bytes) -> Any:
    """Decode JSON with finite numbers in linear time.

    Raises:
        ValueError: it is not such JSON, or is nested too deep for this interpreter.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=_read_int)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a finite number")


def _read_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _write_int(value: int, write: Callable[[Any], Any]) -> Any:
    number = int.__index__(value)
    return number if -_SMALL <= number < _SMALL else {"int": hex(number)}


def _write_float(value: float, write: Callable[[Any], Any]) -> Any:
    number = float.__float__(value)
    return number if math.isfinite(number) else {"float": repr(number)}


_WRITERS: tuple[tuple[type, Any], ...] = (
    (str, lambda v, w: str.__str__(v)),
    (int, _write_int),
    (float, _write_float),
    (list, lambda v, w: [w(e) for e in list.__iter__(v)]),
    (tuple, lambda v, w: {"tuple": [w(e) for e in tuple.__iter__(v)]}),
    (dict, lambda v, w: {"dict": [[w(key), w(value)] for key, value in dict.items(v)]}),
    (set, lambda v, w: {"set": [w(e) for e in set.__iter__(v)]}),
    (frozenset, lambda v, w: {"frozenset": [w(e) for e in frozenset.__iter__(v)]}),
    (bytes, lambda v, w: {"bytes": bytes.hex(v)}),
    (complex, lambda v, w: {"complex": [w(v.real), w(v.imag)]}),
)

_READERS: dict[str, Any] = {
    "int": lambda c, r: int(c, 16),
    "float": lambda c, r: float(c),
    "tuple": lambda c, r: tuple(r(e) for e in c),
    "dict": lambda c, r: {r(key): r(value) for key, value in c},
    "set": lambda c, r: {r(e) for e in c},
    "frozenset": lambda c, r: frozenset(r(e) for e in c),
    "bytes": lambda c, r: bytes.fromhex(c),
    "complex": lambda c, r: complex(r(c[0]), r(c[1])),
}
