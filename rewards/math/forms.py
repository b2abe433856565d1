r"""Split an answer into its name, its value in one notation and its unit.

normalize --> phrases, spelled numbers --> special notations, points --> name = value unit
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from rewards.math.named_values import as_tuple, is_name, split_name
from rewards.math.notation import normalize
from rewards.math.plain_numbers import in_digits, in_digits_before_unit, plain_number
from rewards.math.shapes import parse_shape
from rewards.math.special_forms import rewrite_special_forms
from rewards.math.text_answers import is_prose, phrase_meaning
from rewards.math.unit_names import is_known_unit
from rewards.math.units import Quantity, split_list_unit, split_unit

__all__ = ["MAX_MATH_CHARS", "Form", "form_of"]

MAX_MATH_CHARS = 2000
_MAX_RELATION_CHARS = 500

_TEXT_LIST = re.compile(
    r"\\(?:text|mathrm|mbox)\{([\s,;]*(?:and|or|,|;)[\s]*)\}|,? ?\b(?:and|or)\b ?|[或和与;]"
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}")
_SPACED_LIST = re.compile(r"\d,\s+\d{3}(?!\d)", re.ASCII)
_THOUSANDS_COMMA = re.compile(r",(?=\d{3}(?!\d))", re.ASCII)
_RATIO = re.compile(r"(\d[\d.]*) ?(?:\\text\{ ?to ?\}|to|比) ?(\d[\d.]*)")
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_WORD = r",? ?(?:\\(?:text|mathrm|mbox|quad|qquad)\{{[ ,]*(?:{0})[ ,]*\}}|\b(?:{0})\b|{1}) ?"
_OR = re.compile(_WORD.format("or|或|或者", r"或者?|\\lor(?![A-Za-z])"))
_AND = re.compile(_WORD.format("and|且|和", r"并?且|和|\\land(?![A-Za-z])"))


class Form(NamedTuple):
    """The parts of an answer."""

    core: str  # the value in one notation, without its unit
    unit: str | None
    number: int | Fraction | None  # the value of the core if it is a plain number
    symbol: str | None = None  # the name in "name = value"


@lru_cache(maxsize=65536)
def form_of(text: str) -> Form:
    """Return the parts of an answer or a gold."""
    is_list = _SPACED_LIST.search(text) is not None  # "1, 200" is not 1,200
    text = normalize(text).removeprefix("=")
    meaning = phrase_meaning(text)
    if meaning is not None:
        return Form(meaning, None, None)
    text = _spelled_number(text)
    ratio = _RATIO.fullmatch(text)
    text = text if ratio is None else f"{ratio[1]}:{ratio[2]}"
    if len(text) > MAX_MATH_CHARS:
        return Form(text, None, None)
    text = as_tuple(rewrite_special_forms(_with_connectives(text)))
    if _TEXT_LIST.search(text) and not is_prose(_TEXT_LIST.sub(" ", text)):
        text, is_list = normalize(_TEXT_LIST.sub(",", text).replace(",,", ",")), True
    text = _THOUSANDS_COMMA.sub(", ", text) if is_list else text
    text = _without_approximation(text)
    number = plain_number(text)
    if number is not None:
        return Form(_number_core(number), None, number)
    return _named_form(text)


def _spelled_number(text: str) -> str:
    r"""Write a spelled number, optionally in \text{}, in digits."""
    in_words = _TEXT.fullmatch(text)
    spelled = in_digits(in_words[1] if in_words else text)
    return text if in_words and spelled == in_words[1] else spelled


def _with_connectives(text: str) -> str:
    r"""Write "or" and "and" between relations as \lor and \land: "x<-1 or x>1"."""
    if len(text) > _MAX_RELATION_CHARS or not _RELATION.search(text):
        return text
    return _AND.sub(r"\\land ", _OR.sub(r"\\lor ", text))


def _without_approximation(text: str) -> str:
    r"""Keep the exact value of `\frac{2}{3} \approx 0.67`, or the rounded one if it is alone."""
    exact, sign, rounded = text.partition(r"\approx")
    return rounded.strip() if sign and (not exact.strip() or is_name(exact.strip())) else exact


def _named_form(text: str) -> Form:
    name, value = split_name(text)
    quantity = _quantity(value)
    number = plain_number(quantity.value)
    if number is not None:
        return Form(_number_core(number), quantity.unit, number, name)
    if name is not None and (r"\pm" in value or parse_shape(value).kind == "scalar"):
        name, quantity = None, _quantity(text)  # an equation, or a value that is no number
    return Form(quantity.value, quantity.unit, None, name)


def _quantity(text: str) -> Quantity:
    """Split off a unit, including after a spelled number."""
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


def _number_core(number: int | Fraction) -> str:
    if number.denominator == 1:
        return str(number.numerator)
    sign = "-" if number < 0 else ""
    return rf"{sign}\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"
