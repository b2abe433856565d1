"""Literals as JSON: nothing is lost, and lookalikes of literals are rejected."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict, namedtuple
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.compare import Tolerance, same_value
from sandbox.literals import decode, encode, read_frame, read_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
KEYS = SCALARS | st.tuples(SCALARS, SCALARS) | st.frozensets(SCALARS, max_size=3)
VALUES = st.recursive(
    SCALARS | st.sets(KEYS, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_a_literal_comes_back_as_it_was(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value
    assert type(back) is type(value)
    assert same_value(encode(back), encode(value), mode="json", tolerance=Tolerance.of(0))


class Colour(IntEnum):
    RED = 1


class Liar(int):
    def __index__(self) -> int:
        return 42

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Point(1, 2), (1, 2)),
        (Colour.RED, 1),
        (Liar(7), 7),
    ],
)
def test_a_subclass_is_written_as_what_it_is_made_of(value: Any, plain: Any) -> None:
    back = decode(encode(value))
    assert type(back) is type(plain)
    assert back == plain


@pytest.mark.parametrize("value", [object(), range(3), iter([]), print, int, [{1: object()}]])
def test_what_is_no_literal_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is not a literal"):
        encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="deeper than 100"):
        encode(loop)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x05\0\0\0null",
        b"\x04\0\0\0null",
        b'\x0c\0\0\0{"value": 1}x',
        b'\x10\0\0\0{"v": 1, "w": 2}',
        b'\x12\0\0\0{"value": Infinity',
        b"\xff\xff\xff\xff{}",
    ],
)
def test_a_frame_that_is_not_exactly_one_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError):
        read_frame(frame)


def test_a_whole_frame_is_read() -> None:
    assert read_frame(b'\x0c\0\0\0{"value": 1}') == 1


@pytest.mark.parametrize(
    "text", [b"[" * 1_000_000, b"9" * 5000, b"NaN", b"-Infinity", b"\xff", b""]
)
def test_hostile_json_is_an_error_and_nothing_worse(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(text)
