r"""Compare two formulas with Math-Verify's parser, in a worker that its parent can kill.

Results are plain strings: no sympy object leaves the worker. Math-Verify's timeouts are off, since
they use signals, which threads cannot receive: the parent enforces the deadline.

Expressions are compared by value (see `formulas`), since `verify` rounds and takes the last side of
a chain (1 = 2 = 42). Relations, and formulas without a value, are left to `verify`, gold first: it
is not symmetric.

Answers may have a free constant: x^2+C is x^2+1+C, where the constant is required and may be called
c or K, and \pi/4+k\pi is \pi/4+n\pi.
"""

from __future__ import annotations

import re
from contextlib import suppress
from enum import StrEnum
from typing import Any

import sympy
from math_verify import verify

from rewards.math.formulas import (
    TOLERANCE,
    Unparsable,
    equal_at_points,
    parse_formula,
    sample_point,
    symbols_of,
    value_of,
)
from rewards.math.named_values import is_name, is_result_name, split_name
from rewards.math.plain_numbers import plain_number
from rewards.math.real_sets import equal_sets, is_real_set
from rewards.math.shapes import equal_shapes, parse_shape, split_top_level

__all__ = ["Comparison", "compare_job"]

_RELATION = re.compile(r"[<>]|\\(?:le|ge|lt|gt|ne)(?![A-Za-z])")
_ONE_INEQUALITY = re.compile(r"([^<>]+?)(<=|>=|<|>|\\(?:le|ge|lt|gt)(?![A-Za-z]))([^<>]+)")
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_SIGNS = {r"\le": "<=", r"\ge": ">=", r"\lt": "<", r"\gt": ">"}
_FUNCTION_OF_X = re.compile(r"f\(x\)")
_ROOT_INDEX = re.compile(r"_\{?\d\}?$")
_CONSTANT_LAST = re.compile(r"(?P<rest>.+)\+(?P<letter>[CcK])", re.DOTALL)
_CONSTANT_FIRST = re.compile(r"(?P<letter>[CcK])(?P<rest>[-+].+)", re.DOTALL)
_PARAMETER = re.compile(r"(?<![A-Za-z\\])([knm])(?= ?\\(?:cdot ?)?pi(?![a-z])|\^\{?\\circ|\\cdot)")
_LETTER = re.compile(r"\\[A-Za-z]+|[A-Za-z]")


class Comparison(StrEnum):
    """Result of comparing two formulas."""

    EQUAL = "equal"
    DIFFERENT = "different"
    BAD_GOLD = "bad_gold"  # the parser cannot read the gold


def compare_job(payload: Any) -> str:
    """Compare the values of (gold, answer), in one notation and without units, in a worker."""
    gold, answer = map(str, payload)
    with suppress(Unparsable):
        if _equal(gold, _with_gold_parameter(gold, answer)):
            return Comparison.EQUAL.value
    return (Comparison.DIFFERENT if _is_readable(gold) else Comparison.BAD_GOLD).value


def _with_gold_parameter(gold: str, answer: str) -> str:
    r"""Give the whole-number parameter before \pi in the answer the letter it has in the gold."""
    gold_names = {match[1] for match in _PARAMETER.finditer(gold)}
    names = {match[1] for match in _PARAMETER.finditer(answer)}
    letters = {match.group() for match in _LETTER.finditer(split_name(gold)[1])}
    if len(gold_names) != 1 or len(names) != 1 or letters - gold_names - {r"\frac", r"\pi"}:
        return answer
    return re.sub(rf"(?<![A-Za-z\\]){names.pop()}(?![A-Za-z])", gold_names.pop(), answer)


def _equal(gold: str, answer: str) -> bool:
    as_sets = equal_sets(gold, answer)
    if as_sets is not None:
        return as_sets
    if equal_shapes(gold, answer, _equal_scalars):
        return True
    return _is_interval_and_relation(gold, answer) and _verify(gold, answer)


def _equal_scalars(gold: str, answer: str) -> bool:
    if gold == answer:
        return True
    numbers = plain_number(gold), plain_number(answer)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if _RELATION.search(gold) or _RELATION.search(answer):
        return _equal_relations(gold, answer)
    gold_sides, sides = _sides(gold, of_gold=True), _sides(answer)
    if "=" in gold and "=" in answer:
        gold_names = _names(gold)
        if len(gold_sides) > 1 or _names(answer, gold_names) != gold_names:
            return _equal_equations(gold, answer)
    elif len(gold_sides) > 1:
        return False
    return all(_equal_values(gold_sides[0], side) for side in sides)


def _sides(text: str, of_gold: bool = False) -> tuple[str, ...]:
    """Return the values that a formula states: 3 + 4 and 7 for `x = 3 + 4 = 7`."""
    sides = split_top_level(text, "=")
    while len(sides) > 1 and is_result_name(sides[0], of_gold=of_gold):
        sides = sides[1:]
    while len(sides) > 1 and is_name(sides[-1]) and not is_name(sides[0]):
        sides = sides[:-1]
    return sides


def _names(text: str, gold_names: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names in an equation: y for f(x), and x for x_1 and x_2 if the gold names x."""
    names = {side for side in split_top_level(text, "=")[:-1] if is_result_name(side)}
    names |= {side for side in split_top_level(text, "=")[-1:] if is_name(side) and not names}
    plain = {_FUNCTION_OF_X.sub("y", name) for name in names}
    return frozenset(
        bare if (bare := _ROOT_INDEX.sub("", name)) in gold_names else name for name in plain
    )


def _equal_relations(gold: str, answer: str) -> bool:
    if not (_RELATION.search(gold) and _RELATION.search(answer)):
        return False
    first, second = _ONE_INEQUALITY.fullmatch(gold), _ONE_INEQUALITY.fullmatch(answer)
    if first is None or second is None or "=" in gold + answer:
        return _verify(gold, answer)
    ratio = _ratio(first[1] + "=" + first[3], second[1] + "=" + second[3])
    signs = [_SIGNS.get(match[2], match[2]) for match in (first, second)]
    return ratio is not None and signs[0] == (signs[1] if ratio > 0 else _MIRRORED[signs[1]])


def _equal_equations(gold: str, answer: str) -> bool:
    """Compare equations up to a constant factor: `2x - y = -3` is `y = 2x + 3`."""
    if gold.count("=") != 1 or answer.count("=") != 1:
        return False
    if symbols_of(_difference(gold), _difference(answer)):
        return _ratio(gold, answer) is not None
    sides = zip(gold.split("="), answer.split("="), strict=True)  # 0.56 = 56/100 is no relation
    return all(_equal_values(gold_side, side) for gold_side, side in sides)


def _ratio(gold: str, answer: str) -> Any:
    """Return the constant ratio of the differences of the sides; None if it is not constant."""
    left, right = (_difference(equation) for equation in (gold, answer))
    symbols = symbols_of(left, right)
    ratios = []
    for index in range(3):
        values = [value_of(side.subs(sample_point(symbols, index))) for side in (left, right)]
        if None in values or not all(values):
            return None
        ratios.append(values[0] / values[1])
    is_constant = all(bool(abs(ratio / ratios[0] - 1) <= TOLERANCE) for ratio in ratios)
    return ratios[0] if is_constant and ratios[0].is_real else None


def _difference(equation: str) -> sympy.Expr:
    left, right = (parse_formula(side) for side in equation.split("="))
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        raise Unparsable(equation)
    return left - right


def _equal_values(gold: str, answer: str) -> bool:
    as_families = _same_antiderivative(gold, answer)
    if as_families is not None:
        return as_families
    left, right = parse_formula(gold), parse_formula(answer)
    if isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr):
        at_points = equal_at_points(left, right)
        if at_points is not None:
            return at_points
    return bool(verify(left, right, timeout_seconds=None))


def _same_antiderivative(gold: str, answer: str) -> bool | None:
    """Compare up to a constant; return None if the gold has no constant of integration."""
    gold_part, gold_letter = _without_constant(gold)
    if gold_letter not in ("C", "c"):
        return None
    part, letter = _without_constant(answer)
    if letter is None:
        return False
    first, second = parse_formula(gold_part), parse_formula(part)
    if not (isinstance(first, sympy.Expr) and isinstance(second, sympy.Expr)):
        return None
    unknowns = symbols_of(first, second)
    if len(unknowns) != 1 or letter == str(unknowns[0]):
        return None
    return _differ_by_a_constant(first, second)


def _without_constant(text: str) -> tuple[str, str | None]:
    match = _CONSTANT_LAST.fullmatch(text) or _CONSTANT_FIRST.fullmatch(text)
    return (text, None) if match is None else (match["rest"], match["letter"])


def _differ_by_a_constant(first: sympy.Expr, second: sympy.Expr) -> bool:
    """Compare the difference at three points, and at two negative ones where it is real."""
    unknowns = symbols_of(first, second)
    places = [sample_point(unknowns, index) for index in range(3)]
    places += [{name: -value for name, value in place.items()} for place in places[:2]]
    gaps = []
    for number, place in enumerate(places):
        values = [value_of(side.subs(place)) for side in (first, second)]
        is_read = None not in values and (number < 3 or all(value.is_real for value in values))
        if not is_read and number < 3:
            return False
        if is_read:
            gaps.append(values[0] - values[1])
    size = max(1, *(abs(gap) for gap in gaps))
    return all(bool(abs(gap - gaps[0]) <= TOLERANCE * size) for gap in gaps)


def _verify(gold: str, answer: str) -> bool:
    left, right = parse_formula(gold), parse_formula(answer)
    return bool(verify(left, right, timeout_seconds=None, allow_set_relation_comp=True))


def _is_interval_and_relation(gold: str, answer: str) -> bool:
    """Whether one side is `-2 < x < 7` and the other an interval or a union."""
    sets = [text for text in (gold, answer) if not _RELATION.search(text)]
    if len(sets) != 1:
        return False
    kind = parse_shape(sets[0]).kind
    return kind == "union" or "," in kind


def _is_readable(gold: str) -> bool:
    if is_real_set(gold):
        return True
    scalars: list[str] = []

    def collect(part: str, _: str) -> bool:
        scalars.append(part)
        return True

    equal_shapes(gold, gold, collect)
    return all(_is_parsable(side) for part in scalars for side in split_top_level(part, "="))


def _is_parsable(text: str) -> bool:
    try:
        return plain_number(text) is not None or parse_formula(text) is not None
    except Unparsable:
        return False
