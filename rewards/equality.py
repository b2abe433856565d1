r"""Is this answer the gold? Decided here wherever no parser is needed, which is nearly always.

    equal strings, plain numbers --> notation, units, text, choices --> a Question for the parser

Equality is of values, not of notation, and exact. What the gold is decides how an answer is read:
text is compared as text, a letter as a choice, everything else as mathematics.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from rewards.extract import Answer
from rewards.grades import Grade, Outcome
from rewards.notation import tidy
from rewards.number_words import in_digits
from rewards.plain_numbers import plain_number
from rewards.points import as_tuple
from rewards.residues import same_residue, without_bmod
from rewards.statements import choice_letter, is_prose, stated_value, strip_lead_in, text_key
from rewards.units import (
    PERCENT,
    are_different_units,
    is_known_unit,
    split_letter_unit,
    split_unit,
    unit_size,
)

__all__ = ["Question", "correct", "decide", "wrong"]

MAX_MATH_CHARS = 2000
MAX_NESTING = 50
_SHOWN_CHARS = 60

_APPROXIMATE = re.compile(r"\\approx")
_SYMBOL_VALUE = re.compile(
    r"(?P<symbol>\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?)=(?P<value>[^=]+)"
)
_IN_BASE = re.compile(r"(\d[0-9A-Fa-f]{0,99})_\{?(\d{1,2})\}?", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:[0-5]\d", re.ASCII)
_TEXT_LIST = re.compile(
    r"\\(?:text|mathrm|mbox)\{([\s,;]*(?:and|or|,|;)[\s]*)\}|,? ?\b(?:and|or)\b ?|[或和与]"
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}")
_DIGIT_RUN = re.compile(r"\d{1001}", re.ASCII)


class Question(NamedTuple):
    """What the parser has to decide; both in one notation, without units."""

    gold: str
    answer: str


class _Form(NamedTuple):
    """An answer taken apart."""

    core: str  # in one notation, without its unit
    unit: str | None
    number: int | Fraction | None  # of the core, where it is a plain number
    symbol: str | None = None  # it was written as "symbol = number"


def decide(gold: str, answer: Answer, worked_out: bool = False) -> Grade | Question:
    """Grade an answer, or say what has to be asked of the parser."""
    text = answer.text
    if text == gold and gold:
        return correct(text, gold)
    gold_number = plain_number(gold)
    if gold_number is not None:
        number = plain_number(text)
        if number is not None:
            return correct(text, gold) if number == gold_number else wrong(text, gold)
    return _decide_forms(gold, text, answer.is_plain, worked_out)


def correct(answer: str, gold: str) -> Grade:
    """Full marks."""
    reason = "" if answer == gold else f"{_shown(answer)} equals {_shown(gold)}"
    return Grade(value=1.0, outcome=Outcome.CORRECT, reason=reason)


def wrong(answer: str, gold: str, why: str = "") -> Grade:
    """No marks."""
    reason = f"{_shown(answer)} is not {_shown(gold)}" + (f": {why}" if why else "")
    return Grade(value=0.0, outcome=Outcome.WRONG, reason=reason)


@lru_cache(maxsize=65536)
def _decide_forms(gold: str, text: str, is_plain: bool, worked_out: bool) -> Grade | Question:
    gold_form = _form(gold)
    if not gold_form.core:
        return Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD, reason="the gold answer is empty")
    if len(text) > MAX_MATH_CHARS:
        return wrong(text, gold, f"longer than {MAX_MATH_CHARS} characters")
    if is_plain:
        text = strip_lead_in(text)
    grade = _decide_text(gold, gold_form, text)
    if grade is not None:
        return grade
    form = _form(text)
    if form.number is None and is_prose(form.core):
        stated = stated_value(text) if is_plain else None
        if stated is None:
            return wrong(text, gold, "it does not state exactly one value" if is_plain else "text")
        form = _form(stated)
    decision = _decide_values(gold_form, form, gold, text)
    has_to_be_number = (
        worked_out and isinstance(decision, Question) and gold_form.number is not None
    )
    if has_to_be_number and _form(form.core.rpartition("=")[2]).number is None:
        return wrong(text, gold, "it is not worked out to a number")
    return decision


def _decide_text(gold: str, gold_form: _Form, text: str) -> Grade | None:
    """Text answers and multiple choice, where the gold is one of these."""
    letter = choice_letter(gold)
    if letter is not None and text_key(gold).upper() == letter:
        is_right = choice_letter(tidy(strip_lead_in(text))) == letter
        return correct(text, gold) if is_right else wrong(text, gold)
    if gold_form.number is None and is_prose(gold_form.core):
        keys = {text_key(tidy(text)), text_key(tidy(text).removesuffix("."))}
        return correct(text, gold) if text_key(gold_form.core) in keys else wrong(text, gold)
    return None


def _decide_values(gold: _Form, answer: _Form, gold_text: str, text: str) -> Grade | Question:
    if answer.number is None and answer.unit is None and is_known_unit(gold.unit or ""):
        answer = _with_letter_unit(answer)
    converted = _equal_converted(gold, answer)
    if converted is not None:
        return correct(text, gold_text) if converted else wrong(text, gold_text)
    if are_different_units(gold.unit, answer.unit):
        return wrong(text, gold_text, f"{answer.unit} is not {gold.unit}")
    if gold.symbol is not None and answer.symbol is not None and gold.symbol != answer.symbol:
        return wrong(text, gold_text, f"{answer.symbol} is not {gold.symbol}")
    if answer.core == gold.core:
        return correct(text, gold_text)
    if gold.number is not None and answer.number is not None:
        is_hundredth = gold.unit == PERCENT and answer.unit is None
        is_equal = answer.number == gold.number or (
            is_hundredth and answer.number * 100 == gold.number
        )
        return correct(text, gold_text) if is_equal else wrong(text, gold_text)
    for rule in (_decide_in_base, _decide_clock, same_residue):
        is_right = rule(gold.core, answer.core)
        if is_right is not None:
            return correct(text, gold_text) if is_right else wrong(text, gold_text)
    why = _unparsable(answer.core)
    return wrong(text, gold_text, why) if why else Question(gold.core, answer.core)


def _equal_converted(gold: _Form, answer: _Form) -> bool | None:
    """5000 m beside 5 km; None where these are not two units of one kind."""
    gold_size, size = unit_size(gold.unit), unit_size(answer.unit)
    if gold_size is None or size is None or gold_size == size or gold_size[0] != size[0]:
        return None
    if gold.number is None or answer.number is None:
        return False
    return gold.number * gold_size[1] == answer.number * size[1]


def _with_letter_unit(answer: _Form) -> _Form:
    value, unit = split_letter_unit(answer.core)
    return answer if unit is None else _Form(value, unit, plain_number(value), answer.symbol)


def _decide_in_base(gold: str, answer: str) -> bool | None:
    """`204_6`: digits and base, which may be left out; None where the gold has no base."""
    gold_digits, digits = _IN_BASE.fullmatch(gold), _IN_BASE.fullmatch(answer)
    if gold_digits is None:
        return False if digits is not None and digits[2] != "10" else None
    if digits is None:
        return answer.upper() == gold_digits[1].upper()
    is_same = digits[1].lstrip("0").upper() == gold_digits[1].lstrip("0").upper()
    return is_same and digits[2] == gold_digits[2]


def _decide_clock(gold: str, answer: str) -> bool | None:
    """10:30 in another spelling of the same ratio is another time; 2:10 may be either."""
    if not _CLOCK.fullmatch(gold) or ":" not in answer:
        return None
    hour, minute = (int(part) for part in gold.split(":"))
    if hour > 24 or math.gcd(hour, minute) == 1:
        return None
    return answer.lstrip("0") == gold.lstrip("0")


@lru_cache(maxsize=65536)
def _form(text: str) -> _Form:
    text = tidy(text).removeprefix("=")
    in_words = _TEXT.fullmatch(text)
    spelled = in_digits(in_words[1] if in_words else text)
    text = text if in_words and spelled == in_words[1] else spelled
    text = as_tuple(without_bmod(text))
    if len(text) > MAX_MATH_CHARS:
        return _Form(text, None, None)
    if _TEXT_LIST.search(text) and not is_prose(_TEXT_LIST.sub(" ", text)):
        text = tidy(_TEXT_LIST.sub(",", text).replace(",,", ","))
    text = _APPROXIMATE.sub("", text, count=1).strip() if text.startswith("\\approx") else text
    assigned = _SYMBOL_VALUE.fullmatch(text)
    number = plain_number(text)
    if number is not None:
        return _Form(_number_core(number), None, number)
    value, unit = split_unit(assigned["value"] if assigned is not None else text)
    number = plain_number(value)
    if number is not None:
        return _Form(
            _number_core(number), unit, number, assigned["symbol"] if assigned is not None else None
        )
    if assigned is not None:
        value, unit = split_unit(text)
    return _Form(value, unit, None)


def _number_core(number: int | Fraction) -> str:
    """A plain number as every parser reads it: no thousands commas, no exponent."""
    if number.denominator == 1:
        return str(number.numerator)
    sign = "-" if number < 0 else ""
    return rf"{sign}\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"


def _unparsable(core: str) -> str | None:
    """Why the parser is not asked: nothing honest looks so, and a parser might choke on it."""
    if len(core) > MAX_MATH_CHARS:
        return "too long"
    if _DIGIT_RUN.search(core):
        return "a number of more than 1000 digits"
    depth = deepest = 0
    for mark in core:
        if mark in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in ")]}":
            depth -= 1
    return f"nested more than {MAX_NESTING} deep" if deepest > MAX_NESTING else None


def _shown(text: str) -> str:
    text = " ".join(text.split()) if len(text) < 4 * _SHOWN_CHARS else text[: 4 * _SHOWN_CHARS]
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
