r"""Decide whether an answer equals the gold, without a parser wherever possible.

    equal strings, plain numbers --> notation, units, text, choices --> AnswerPair, for the parser

Values are compared, exactly; notation does not count. The gold decides how an answer is read: text
is compared as text, a letter as a choice, everything else as mathematics.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from rewards.base import Grade, Outcome
from rewards.math.extract import StatedAnswer
from rewards.math.named_values import as_tuple, chain_as_tuple, is_name, split_name
from rewards.math.notation import normalize
from rewards.math.plain_numbers import in_digits, in_digits_before_unit, plain_number
from rewards.math.shapes import parse_shape, split_top_level
from rewards.math.special_forms import (
    choices_of_call,
    rewrite_special_forms,
    same_special_form,
    same_time,
)
from rewards.math.text_answers import (
    is_prose,
    is_synonym,
    phrase_meaning,
    stated_value,
    strip_lead_in,
    text_key,
)
from rewards.math.unit_names import PERCENT, is_known_unit, unit_size, units_differ
from rewards.math.units import (
    Quantity,
    same_mixed_quantity,
    split_letter_unit,
    split_list_unit,
    split_unit,
)
from rewards.verifiers.choices import chosen_letters

__all__ = ["AnswerPair", "decide", "grade_equality"]

_MAX_MATH_CHARS = 2000
_MAX_NESTING = 50
_MAX_SHOWN_CHARS = 60
_MAX_RELATION_CHARS = 500

_DIGIT_RUN = re.compile(r"\d{1001}", re.ASCII)
_LETTER_SET = re.compile(r"\\mathbb\{[A-Z]\}(?:[\^_]\{?[-+*]?\}?)?")
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)

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


class AnswerPair(NamedTuple):
    """Two formulas for the parser to compare, in one notation and without units."""

    gold: str
    answer: str


class _Form(NamedTuple):
    """The parts of an answer."""

    core: str  # the value in one notation, without its unit
    unit: str | None
    number: int | Fraction | None  # the value of the core if it is a plain number
    symbol: str | None = None  # the name in "name = value"


def decide(gold: str, answer: StatedAnswer, worked_out: bool = False) -> Grade | AnswerPair:
    """Grade an answer, or return the pair that the parser has to compare."""
    text = answer.text
    if text == gold and gold:
        return grade_equality(True, text, gold)
    gold_number = plain_number(gold)
    if gold_number is not None:
        number = plain_number(text)
        if number is not None:
            return grade_equality(number == gold_number, text, gold)
    return _decide_forms(gold, text, answer.is_plain, worked_out)


def grade_equality(is_equal: bool, answer: str, gold: str, why: str = "") -> Grade:
    """Return 1 or 0, with the reason."""
    if is_equal:
        reason = "" if answer == gold else f"{_shorten(answer)} equals {_shorten(gold)}"
        return Grade.of(Outcome.CORRECT, reason)
    reason = f"{_shorten(answer)} is not {_shorten(gold)}" + (f": {why}" if why else "")
    return Grade.of(Outcome.WRONG, reason)


@lru_cache(maxsize=65536)
def _decide_forms(gold: str, text: str, is_plain: bool, worked_out: bool) -> Grade | AnswerPair:
    gold_form = _form_of(gold)
    if not gold_form.core:
        return Grade.of(Outcome.UNGRADABLE_GOLD, "the gold answer is empty")
    if len(text) > _MAX_MATH_CHARS:
        return grade_equality(False, text, gold, f"longer than {_MAX_MATH_CHARS} characters")
    text = strip_lead_in(text)
    is_right = _compare_whole(gold, gold_form, text)
    if is_right is not None:
        return grade_equality(is_right, text, gold)
    form = _form_of(text)
    if form.number is None and is_prose(form.core):
        stated = stated_value(text) if is_plain else None
        if stated is None:
            why = "it does not state exactly one value" if is_plain else "text"
            return grade_equality(False, text, gold, why)
        form = _form_of(stated)
    decision = _decide_values(gold_form, form, gold, text)
    needs_number = worked_out and isinstance(decision, AnswerPair) and gold_form.number is not None
    if needs_number and _form_of(form.core.rpartition("=")[2]).number is None:
        return grade_equality(False, text, gold, "it is not worked out to a number")
    return decision


def _compare_whole(gold: str, gold_form: _Form, text: str) -> bool | None:
    """Compare answers that are not one value and unit: times, mixed quantities, choices, text."""
    notation = normalize(text)
    for rule in (same_time, same_mixed_quantity):
        is_right = rule(normalize(gold), notation)
        if is_right is not None:
            return is_right
    letters = chosen_letters(gold)
    if len(letters) == 1 and text_key(gold).upper() in letters and gold != gold.lower():
        is_letter = text != text.lower() or ")" in text  # b) is a choice, b a variable
        return is_letter and chosen_letters(notation) == letters
    core = _form_of(text).core
    if is_synonym(gold_form.core, core):
        return True
    if gold_form.number is None and is_prose(gold_form.core):
        keys = {text_key(notation), text_key(notation.removesuffix("."))}
        return core == gold_form.core or text_key(gold_form.core) in keys
    return None


def _decide_values(gold: _Form, answer: _Form, gold_text: str, text: str) -> Grade | AnswerPair:
    if answer.number is None and answer.unit is None and is_known_unit(gold.unit or ""):
        answer = _with_letter_unit(answer)
    elif " " in gold.core and gold.unit is None and is_known_unit(answer.unit or ""):
        gold = _with_letter_unit(gold)
    # C(10,3) is a number or a point, and x=y=1 a tuple, depending on the other side.
    is_point = gold.core.startswith("(") or answer.core.startswith("(")
    if gold.core.startswith("(") and "=" in answer.core:
        answer = answer._replace(core=chain_as_tuple(answer.core))
    gold, answer = (_resolve_choices(form, is_point) for form in (gold, answer))
    decision = _convert_units(gold, answer)
    if decision is None:
        is_other = units_differ(gold.unit, answer.unit)
        decision = False if is_other else _compare_cores(gold, answer)
    elif _why_unparsable(answer.core):
        decision = False
    if isinstance(decision, AnswerPair):
        return decision
    if decision is not None:
        return grade_equality(decision, text, gold_text)
    why = _why_unparsable(answer.core)
    if why is not None:
        return grade_equality(False, text, gold_text, why)
    return AnswerPair(gold.core, answer.core)


def _convert_units(gold: _Form, answer: _Form) -> bool | AnswerPair | None:
    """Compare 5000 m with 5 km, degrees with radians; return None for any other units."""
    gold_size, size = unit_size(gold.unit), unit_size(answer.unit)
    if gold_size is not None and size is not None and gold_size[0] == size[0] and gold_size != size:
        if gold.number is not None and answer.number is not None:
            return gold.number * gold_size[1] == answer.number * size[1]
        factor = gold_size[1] / size[1]
        scaled = rf"({gold.core})\cdot\frac{{{factor.numerator}}}{{{factor.denominator}}}"
        return AnswerPair(scaled, answer.core)
    in_radians = (None, "radian")  # without \pi, a bare number is no angle
    if gold.unit == "degree" and answer.unit in in_radians and r"\pi" in answer.core:
        return AnswerPair(_radians(gold.core), answer.core)
    if answer.unit == "degree" and gold.unit in in_radians and r"\pi" in gold.core:
        return AnswerPair(gold.core, _radians(answer.core))
    return None


def _radians(degrees: str) -> str:
    parts = split_top_level(degrees, ",")
    return ",".join(rf"({part})\cdot\frac{{\pi}}{{180}}" for part in parts)


def _compare_cores(gold: _Form, answer: _Form) -> bool | None:
    """Compare values; return None if the parser has to decide."""
    if gold.symbol is not None and answer.symbol is not None and gold.symbol != answer.symbol:
        return False
    if answer.core == gold.core or is_synonym(gold.core, answer.core):
        return True
    if _LETTER_SET.fullmatch(gold.core) or _LETTER_SET.fullmatch(answer.core):
        return False
    sides = ((gold.core, answer.core), (answer.core, gold.core))
    if any(":" in ratio and _WHOLE.fullmatch(whole) for ratio, whole in sides):
        return False  # 12 is not 12:1
    if gold.number is not None and answer.number is not None:
        is_hundredth = gold.unit == PERCENT and answer.unit is None
        return answer.number == gold.number or (is_hundredth and answer.number * 100 == gold.number)
    return same_special_form(gold.core, answer.core)


def _with_letter_unit(form: _Form) -> _Form:
    value, unit = split_letter_unit(form.core)
    return form if unit is None else _Form(value, unit, plain_number(value), form.symbol)


def _resolve_choices(form: _Form, is_point: bool) -> _Form:
    count = choices_of_call(form.core)
    return form if count is None else form._replace(core=form.core[1:] if is_point else count)


def _why_unparsable(core: str) -> str | None:
    """Return why the parser, which might hang, must not get a formula that is no honest answer."""
    if len(core) > _MAX_MATH_CHARS:
        return "too long"
    if _DIGIT_RUN.search(core):
        return "a number of more than 1000 digits"
    depths = accumulate((mark in "([{") - (mark in ")]}") for mark in core)
    deepest = max(depths, default=0)
    return f"nested more than {_MAX_NESTING} deep" if deepest > _MAX_NESTING else None


def _shorten(text: str) -> str:
    size = _MAX_SHOWN_CHARS
    text = " ".join(text.split()) if len(text) < 4 * size else text[: 4 * size]
    return text if len(text) <= size else text[: size - 3] + "..."


@lru_cache(maxsize=65536)
def _form_of(text: str) -> _Form:
    """Split an answer or a gold.

    normalize --> phrases, spelled numbers --> special notations, points --> name = value unit
    """
    is_list = _SPACED_LIST.search(text) is not None  # "1, 200" is not 1,200
    text = normalize(text).removeprefix("=")
    meaning = phrase_meaning(text)
    if meaning is not None:
        return _Form(meaning, None, None)
    text = _spelled_number(text)
    ratio = _RATIO.fullmatch(text)
    text = text if ratio is None else f"{ratio[1]}:{ratio[2]}"
    if len(text) > _MAX_MATH_CHARS:
        return _Form(text, None, None)
    text = as_tuple(rewrite_special_forms(_with_connectives(text)))
    if _TEXT_LIST.search(text) and not is_prose(_TEXT_LIST.sub(" ", text)):
        text, is_list = normalize(_TEXT_LIST.sub(",", text).replace(",,", ",")), True
    text = _THOUSANDS_COMMA.sub(", ", text) if is_list else text
    text = _without_approximation(text)
    number = plain_number(text)
    if number is not None:
        return _Form(_number_core(number), None, number)
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


def _named_form(text: str) -> _Form:
    name, value = split_name(text)
    quantity = _quantity(value)
    number = plain_number(quantity.value)
    if number is not None:
        return _Form(_number_core(number), quantity.unit, number, name)
    if name is not None and (r"\pm" in value or parse_shape(value).kind == "scalar"):
        name, quantity = None, _quantity(text)  # an equation, or a value that is no number
    return _Form(quantity.value, quantity.unit, None, name)


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
