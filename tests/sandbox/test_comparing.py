"""Outputs compared with expected ones; each row is worked out by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandbox.compare import Tolerance, same_stdout, same_value
from sandbox.literals import encode

TIGHT = Tolerance.of(1e-6)


@pytest.mark.parametrize(
    ("mode", "got", "expected", "is_same"),
    [
        ("tokens", b"1 2\n3", b"1  2 3\n", True),
        ("tokens", b"1 2", b"1 2 3", False),
        ("tokens", b"1 2 3 4", b"1 2 3", False),
        ("tokens", b"", b"", True),
        ("tokens", b"", b"0", False),
        ("tokens", b"yes", b"YES", False),
        ("tokens", "\uff11\uff12".encode(), b"12", False),  # full-width digits are other characters
        ("tokens", "1\u00a02".encode(), b"1 2", False),  # so is a no-break space
        ("tokens", b"\xef\xbb\xbf12", b"12", False),
        ("tokens", b"12\0", b"12", False),
        ("tokens", b"12.0", b"12", False),
        ("lines", b"a b\n", b"a b", True),
        ("lines", b"a b\r\n", b"a b\n", True),
        ("lines", b"a  b", b"a b", False),
        ("lines", b"a\n\nb", b"a\nb", False),
        ("floats", b"0.3333333", b"0.33333333", True),
        ("floats", b"0.3334", b"0.33333333", False),
        ("floats", b"1000000.5", b"1000000.0", True),  # relative to the expected value
        ("floats", b"10", b"11", False),
        ("floats", b"1000000001", b"1000000000", False),  # whole numbers are exact
        ("floats", b"1e1", b"10.0", True),
        ("floats", b"nan", b"1.0", False),
        ("floats", b"inf", b"1e999", False),
        ("floats", b"1_0", b"10", False),
        ("floats", b"0x10", b"16", False),
        ("floats", b"word 1.0", b"word 1.0000001", True),
        ("floats", b"1.0", b"1.0 2.0", False),
        ("floats", b"9" * 300_000, b"1.0", False),
        ("multiset", b"b 1\na 2\n", b"a 2\nb 1", True),
        ("multiset", b"a\na\nb", b"a\nb\nb", False),
        ("json", b'{"a": [1, 2.0]}', b'{"a":[1,2.0]}', True),
        ("json", b"1.0", b"1", False),
        ("json", b"true", b"1", False),
        ("json", b"NaN", b"NaN", False),
        ("json", b"[" * 100_000, b"[]", False),
        ("json", b"[1,", b"[1]", False),
    ],
)
def test_outputs_are_the_same(mode: str, got: bytes, expected: bytes, is_same: bool) -> None:
    assert same_stdout(got, expected, mode=mode, tolerance=TIGHT) is is_same


@pytest.mark.parametrize(
    ("mode", "got", "expected", "is_same"),
    [
        ("json", (1, 2), (1, 2), True),
        ("json", [1, 2], (1, 2), False),
        ("json", 1, 1.0, False),
        ("json", True, 1, False),
        ("json", {1, 2}, {2, 1}, True),
        ("json", {1: "a", "1": "b"}, {"1": "b", 1: "a"}, True),
        ("json", {1: "a"}, {"1": "a"}, False),
        ("json", {1}, {1.0}, False),
        ("json", b"x", "x", False),
        ("json", float("nan"), float("nan"), True),
        ("equal", float("nan"), float("nan"), False),
        ("json", None, False, False),
        ("json", {b"x": 1, 2j: 2}, {2j: 2, b"x": 1}, True),
        ("json", complex(float("inf"), 1), complex(float("inf"), 1), True),
        ("equal", {1j: 1}, {1j: 1.0}, True),
        ("equal", 1, 1.0, True),
        ("equal", True, 1, True),
        ("equal", [1, (2.0,)], [1.0, (2,)], True),
        ("equal", (1,), [1], False),
        ("equal", {1: 2}, {1.0: 2.0}, True),
        ("equal", {1}, {"0x1"}, False),
        ("equal", 0.1 + 0.2, 0.3, False),
        ("equal", 2**53, float(2**53), True),
        ("equal", 2**53 + 1, float(2**53), False),
        ("equal", 1 + 0j, 1, True),
        ("floats", 0.1 + 0.2, 0.3, True),
        ("floats", [1, 2.0000001], [1, 2], True),
        ("floats", "0.3", 0.3, False),
        ("floats", float("inf"), 1e308, False),
        ("multiset", [3, 1, 2], [1, 2, 3], True),
        ("multiset", [1, 1, 2], [1, 2, 2], False),
        ("multiset", (1, 2), [2, 1], False),
    ],
)
def test_values_are_the_same(mode: str, got: Any, expected: Any, is_same: bool) -> None:
    assert (
        same_value(encode(got), encode(expected), mode=mode, tolerance=TIGHT, tuple_is_list=False)
        is is_same
    )


def test_numbers_of_any_length_are_compared() -> None:
    big, other = encode(10**5000), encode(10**5000 + 1)
    assert same_value(big, big, mode="json", tolerance=TIGHT)
    assert not same_value(big, other, mode="equal", tolerance=TIGHT)
    assert not same_value(big, other, mode="floats", tolerance=TIGHT)
    both, turned = encode([10**5000, b"x", {10**5000}]), encode([b"x", {10**5000}, 10**5000])
    assert same_value(both, turned, mode="multiset", tolerance=TIGHT)


def test_a_tuple_is_a_list_only_where_that_is_said() -> None:
    got, expected = encode([(1, 2)]), encode([[1, 2]])
    assert not same_value(got, expected, mode="json", tolerance=TIGHT)
    assert same_value(got, expected, mode="json", tolerance=TIGHT, tuple_is_list=True)


@pytest.mark.parametrize(
    "forged",
    [
        *[{"tuple": 3}, {"no": 1}, {}, {"int": "zz"}, {"dict": [[1]]}],
        *[{"float": 10**400}, {"complex": [10**400, 0]}, {"complex": 1}, {"bytes": 7}, {"set": 3}],
        *[{"int": None}, {"float": {"float": "1"}}, {"complex": [{"float": 1}, 0]}],
    ],
)
def test_what_no_encoder_writes_is_not_the_same(forged: Any) -> None:
    assert not same_value(forged, encode((1,)), mode="json", tolerance=TIGHT)


def test_keys_that_collide_cost_no_more_time_than_others() -> None:
    modulus = (1 << 61) - 1  # of Python's hash of whole numbers
    hostile = {"dict": [[{"int": hex(i * modulus + 1)}, 1] for i in range(20_000)]}
    start = time.perf_counter()
    assert not same_value(hostile, encode({1: 1}), mode="equal", tolerance=TIGHT)
    assert time.perf_counter() - start < 5  # hashed, it takes minutes


def test_nested_sets_cost_no_more_time_than_they_are_long() -> None:
    nest = frozenset()  # type: ignore[var-annotated]
    for _ in range(60):
        nest = frozenset([nest])
    start = time.perf_counter()
    assert same_value(encode(nest), encode(nest), mode="json", tolerance=TIGHT)
    assert time.perf_counter() - start < 5  # as text within text it takes for ever


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), (1,), "1e-3", True])
def test_a_tolerance_that_is_none_is_refused(tolerance: Any) -> None:
    with pytest.raises(ValueError, match="tolerance is"):
        Tolerance.of(tolerance)


def test_a_pair_is_absolute_and_relative() -> None:
    assert Tolerance.of((0.5, 0.0)).holds(10.4, 10.0)
    assert not Tolerance.of((0.0, 0.01)).holds(10.4, 10.0)
