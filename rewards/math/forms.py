r"""An answer taken apart before it is compared: its name, its value in one notation, its unit.

tidy --> phrases, spelled numbers --> connectives, points, binomials --> name = value unit
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from rewards.math.bases import base_in_figures
from rewards.math.counting import with_binomials
from rewards.math.names import is_name, split_name, split_shape_name
from rewards.math.notation import tidy
from rewards.math.number_words import in_digits, in_digits_before_unit
from rewards.math.phrases import meaning
from rewards.math.plain_numbers import plain_number
from rewards.math.points import as_tuple
from rewards.math.relations import with_connectives
from rewards.math.residues import without_bmod
from rewards.math.statements import is_prose
from rewards.math.units import Quantity, is_known_unit, split_list_unit, split_unit

__all__ = ["MAX_MATH_CHARS", "Form", "form_of"]

MAX_MATH_CHARS = 2000

_TEXT_LIST = re.compile(
    r"\\(?:text|mathrm|mbox)\{([\s,;]*(?:and|or|,|;)[\s]*)\}|,? ?\b(?:and|or)\b ?|[或和与;]"
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}")
_SPACED_LIST = re.compile(r"\d,\s+\d{3}(?!\d)", re.ASCII)
_THOUSANDS_COMMA = re.compile(r",(?=\d{3}(?!\d))", re.ASCII)
_RATIO = re.compile(r"(\d[\d.]*) ?(?:\\text\{ ?to ?\}|to|比) ?(\d[\d.]*)")


class Form(NamedTuple):
    """An answer taken apart."""

    core: str  # in one notation, without its unit
    unit: str | None
    number: int | Fraction | None  # of the core, where it is a plain number
    symbol: str | None = None  # it was written as "symbol = value"


@lru_cache(maxsize=65536)
def form_of(text: str) -> Form:
    """The parts of an answer or of a gold."""
    is_list = _SPACED_LIST.search(text) is not None  # "1, 200" is not 1,200
    text = tidy(text).removeprefix("=")
    said = meaning(text)
    if said is not None:
        return Form(said, None, None)
    text = base_in_figures(_ratio(_in_figures(text)))
    if len(text) > MAX_MATH_CHARS:
        return Form(text, None, None)
    text = as_tuple(without_bmod(with_binomials(with_connectives(text))))
    if _TEXT_LIST.search(text) and not is_prose(_TEXT_LIST.sub(" ", text)):
        text, is_list = tidy(_TEXT_LIST.sub(",", text).replace(",,", ",")), True
    text = _THOUSANDS_COMMA.sub(", ", text) if is_list else text
    text = _without_approximation(text)
    number = plain_number(text)
    if number is not None:
        return Form(_number_core(number), None, number)
    return _named_form(text)


def _without_approximation(text: str) -> str:
    r"""The exact value of `\frac{2}{3} \approx 0.67`; without one before the sign, what follows."""
    exact, sign, rounded = text.partition(r"\approx")
    return rounded.strip() if sign and (not exact.strip() or is_name(exact.strip())) else exact


def _named_form(text: str) -> Form:
    name, value = split_name(text)
    quantity = _quantity(value)
    number = plain_number(quantity.value)
    if number is not None:
        return Form(_number_core(number), quantity.unit, number, name)
    name, value = split_shape_name(text)
    quantity = _quantity(value)
    return Form(quantity.value, quantity.unit, None, name)


def _quantity(text: str) -> Quantity:
    """The unit off a value, also one whose number is spelled out."""
    quantity = split_unit(text)
    if plain_number(quantity.value) is not None:
        return quantity
    listed = split_list_unit(text)
    if listed.unit is not None:
        return listed
    in_words = _TEXT.fullmatch(text)
    spelled = in_digits_before_unit(in_words[1] if in_words else text)
    from_words = split_unit(spelled)
    is_read = plain_number(from_words.value) is not None and spelled != text
    is_known = from_words.unit is None or is_known_unit(from_words.unit)
    return from_words if is_read and is_known else quantity


def _in_figures(text: str) -> str:
    """A number that is spelled out, with or without a command around it."""
    in_words = _TEXT.fullmatch(text)
    spelled = in_digits(in_words[1] if in_words else text)
    return text if in_words and spelled == in_words[1] else spelled


def _ratio(text: str) -> str:
    ratio = _RATIO.fullmatch(text)
    return f"{ratio[1]}:{ratio[2]}" if ratio is not None else text


def _number_core(number: int | Fraction) -> str:
    """A plain number as every parser reads it: no thousands commas, no exponent."""
    if number.denominator == 1:
        return str(number.numerator)
    sign = "-" if number < 0 else ""
    return rf"{sign}\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"
