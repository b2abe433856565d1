r"""Is this answer the gold? Decided here wherever no parser is needed, which is nearly always.

    equal strings, plain numbers --> notation, units, text, choices --> a Question for the parser

Equality is of values, not of notation, and exact. What the gold is decides how an answer is read:
text is compared as text, a letter as a choice, everything else as mathematics.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from rewards.math.bases import same_in_base
from rewards.math.clock import same_digits, same_time
from rewards.math.counting import count_call
from rewards.math.extract import Answer
from rewards.math.forms import MAX_MATH_CHARS, Form, form_of
from rewards.math.mixed_units import same_quantity
from rewards.math.notation import tidy
from rewards.math.phrases import can_stand_for
from rewards.math.plain_numbers import plain_number
from rewards.math.points import chain_as_tuple
from rewards.math.residues import same_residue
from rewards.math.statements import is_prose, stated_value, strip_lead_in, text_key
from rewards.math.structure import split_top_level
from rewards.math.units import (
    PERCENT,
    are_different_units,
    is_known_unit,
    split_letter_unit,
    unit_size,
)
from rewards.reward import Grade, Outcome
from rewards.verifiers.choices import chosen_letters

__all__ = ["Question", "correct", "decide", "wrong"]

MAX_NESTING = 50
_SHOWN_CHARS = 60

_DIGIT_RUN = re.compile(r"\d{1001}", re.ASCII)
_LETTER_SET = re.compile(r"\\mathbb\{[A-Z]\}(?:[\^_]\{?[-+*]?\}?)?")
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


class Question(NamedTuple):
    """What the parser has to decide; both in one notation, without units."""

    gold: str
    answer: str


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
    gold_form = form_of(gold)
    if not gold_form.core:
        return Grade(value=None, outcome=Outcome.UNGRADABLE_GOLD, reason="the gold answer is empty")
    if len(text) > MAX_MATH_CHARS:
        return wrong(text, gold, f"longer than {MAX_MATH_CHARS} characters")
    text = strip_lead_in(text)
    grade = _decide_whole(gold, text) or _decide_text(gold, gold_form, text)
    if grade is not None:
        return grade
    form = form_of(text)
    if form.number is None and is_prose(form.core):
        stated = stated_value(text) if is_plain else None
        if stated is None:
            return wrong(text, gold, "it does not state exactly one value" if is_plain else "text")
        form = form_of(stated)
    decision = _decide_values(gold_form, form, gold, text)
    has_to_be_number = (
        worked_out and isinstance(decision, Question) and gold_form.number is not None
    )
    if has_to_be_number and form_of(form.core.rpartition("=")[2]).number is None:
        return wrong(text, gold, "it is not worked out to a number")
    return decision


def _decide_whole(gold: str, text: str) -> Grade | None:
    """Times of the day and quantities in several units, which are not one value and one unit."""
    for rule in (same_time, same_quantity):
        is_right = rule(tidy(gold), tidy(text))
        if is_right is not None:
            return correct(text, gold) if is_right else wrong(text, gold)
    return None


def _decide_text(gold: str, gold_form: Form, text: str) -> Grade | None:
    """Text answers and multiple choice, where the gold is one of these."""
    letters = chosen_letters(gold)
    if len(letters) == 1 and text_key(gold).upper() in letters and gold != gold.lower():
        is_letter = text != text.lower() or ")" in text  # b) is a choice, b a variable
        is_right = is_letter and chosen_letters(tidy(text)) == letters
        return correct(text, gold) if is_right else wrong(text, gold)
    if can_stand_for(gold_form.core, form_of(text).core):
        return correct(text, gold)
    if gold_form.number is None and is_prose(gold_form.core):
        if form_of(text).core == gold_form.core:
            return correct(text, gold)
        keys = {text_key(tidy(text)), text_key(tidy(text).removesuffix("."))}
        return correct(text, gold) if text_key(gold_form.core) in keys else wrong(text, gold)
    return None


def _decide_values(gold: Form, answer: Form, gold_text: str, text: str) -> Grade | Question:
    if answer.number is None and answer.unit is None and is_known_unit(gold.unit or ""):
        answer = _with_letter_unit(answer)
    elif " " in gold.core and gold.unit is None and is_known_unit(answer.unit or ""):
        gold = _with_letter_unit(gold)
    gold, answer = _beside(gold, answer)
    decision = _decide_units(gold, answer)
    if isinstance(decision, Question):
        return decision
    if decision is None:
        decision = _decide_cores(gold, answer)
    if decision is not None:
        return correct(text, gold_text) if decision else wrong(text, gold_text)
    why = _unparsable(answer.core)
    return wrong(text, gold_text, why) if why else Question(gold.core, answer.core)


def _decide_units(gold: Form, answer: Form) -> bool | Question | None:
    """None where the values decide."""
    converted = _converted(gold, answer)
    if converted is None:
        converted = _as_radians(gold, answer)
    if converted is not None:
        return False if _unparsable(answer.core) else converted
    return False if are_different_units(gold.unit, answer.unit) else None


def _decide_cores(gold: Form, answer: Form) -> bool | None:
    """None where the parser has to decide."""
    if gold.symbol is not None and answer.symbol is not None and gold.symbol != answer.symbol:
        return False
    if answer.core == gold.core or can_stand_for(gold.core, answer.core):
        return True
    if _LETTER_SET.fullmatch(gold.core) or _LETTER_SET.fullmatch(answer.core):
        return False
    if _is_ratio_beside_whole(gold.core, answer.core):
        return False
    if gold.number is not None and answer.number is not None:
        is_hundredth = gold.unit == PERCENT and answer.unit is None
        return answer.number == gold.number or (is_hundredth and answer.number * 100 == gold.number)
    rulings = (rule(gold.core, answer.core) for rule in (same_in_base, same_digits, same_residue))
    return next((ruling for ruling in rulings if ruling is not None), None)


def _converted(gold: Form, answer: Form) -> bool | Question | None:
    """5000 m beside 5 km; None where these are not two units of one kind."""
    gold_size, size = unit_size(gold.unit), unit_size(answer.unit)
    if gold_size is None or size is None or gold_size == size or gold_size[0] != size[0]:
        return None
    if gold.number is None or answer.number is None:
        factor = gold_size[1] / size[1]
        scaled = rf"({gold.core})\cdot\frac{{{factor.numerator}}}{{{factor.denominator}}}"
        return Question(scaled, answer.core)
    return gold.number * gold_size[1] == answer.number * size[1]


def _as_radians(gold: Form, answer: Form) -> Question | None:
    r"""30^\circ beside \frac{\pi}{6}, either way round; a bare 30 is no angle there."""
    in_radians = (None, "radian")
    if gold.unit == "degree" and answer.unit in in_radians and r"\pi" in answer.core:
        return Question(_radians(gold.core), answer.core)
    if answer.unit == "degree" and gold.unit in in_radians and r"\pi" in gold.core:
        return Question(gold.core, _radians(answer.core))
    return None


def _radians(degrees: str) -> str:
    parts = split_top_level(degrees, ",")
    return ",".join(rf"({part})\cdot\frac{{\pi}}{{180}}" for part in parts)


def _with_letter_unit(answer: Form) -> Form:
    value, unit = split_letter_unit(answer.core)
    return answer if unit is None else Form(value, unit, plain_number(value), answer.symbol)


def _beside(gold: Form, answer: Form) -> tuple[Form, Form]:
    """What a text means beside the other: C(10,3) a number or a point, x=y=1 a tuple."""
    is_point = gold.core.startswith("(") or answer.core.startswith("(")
    sides = []
    for form in (gold, answer):
        count = count_call(form.core)
        if count is not None:
            form = form._replace(core=form.core[1:] if is_point else count)
        sides.append(form)
    if gold.core.startswith("(") and "=" in answer.core:
        sides[1] = answer._replace(core=chain_as_tuple(answer.core))
    return sides[0], sides[1]


def _is_ratio_beside_whole(gold: str, answer: str) -> bool:
    """12 is not 12:1, though one divides."""
    pairs = ((gold, answer), (answer, gold))
    return any(":" in ratio and _WHOLE.fullmatch(whole) for ratio, whole in pairs)


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
