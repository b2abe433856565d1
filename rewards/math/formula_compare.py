r"""Compares two formulas with Math-Verify's parser; runs in a worker that its parent can kill.

Nothing of sympy leaves this module: a verdict does. Math-Verify's own time-outs are off (they are
signals, and dead in threads): the parent holds the deadline.

Closed forms and expressions are compared as values, to `_DIGITS` digits at fixed points, because
its `verify` rounds (1/2006! equals 1/2004! there) and takes the last of a chain (1 = 2 = 42).
Relations, and what has no value at those points, are left to `verify`, gold first: it is not
symmetric.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import sympy
from math_verify import verify

from rewards.math.families import same_antiderivative, with_one_parameter
from rewards.math.names import is_name, is_result_name
from rewards.math.parsing import Unparsable, parsed
from rewards.math.plain_numbers import plain_number
from rewards.math.real_sets import equal_sets, is_real_set
from rewards.math.structure import equal_shapes, split_top_level, take_apart
from rewards.math.values import TOLERANCE, equal_at_points, point, symbols_of, value_of

__all__ = ["Verdict", "compare", "compare_job"]

_RELATION = re.compile(r"[<>]|\\(?:le|ge|lt|gt|ne)(?![A-Za-z])")
_ONE_INEQUALITY = re.compile(r"([^<>]+?)(<=|>=|<|>|\\(?:le|ge|lt|gt)(?![A-Za-z]))([^<>]+)")
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_SIGNS = {r"\le": "<=", r"\ge": ">=", r"\lt": "<", r"\gt": ">"}
_FUNCTION_OF_X = re.compile(r"f\(x\)")
_ROOT_NUMBER = re.compile(r"_\{?\d\}?$")


class Verdict(StrEnum):
    """What the parser says."""

    EQUAL = "equal"
    DIFFERENT = "different"
    BAD_GOLD = "bad_gold"  # the gold cannot be parsed


def compare_job(payload: Any) -> str:
    """`compare` as a worker calls it: a pair in, a word out."""
    gold, answer = payload
    return compare(str(gold), str(answer)).value


def compare(gold: str, answer: str) -> Verdict:
    """Are two answers, in one notation and without units, the same value?"""
    try:
        if _equal(gold, with_one_parameter(gold, answer)):
            return Verdict.EQUAL
    except Unparsable:
        pass
    return Verdict.DIFFERENT if _is_gold_readable(gold) else Verdict.BAD_GOLD


def _equal(gold: str, answer: str) -> bool:
    as_sets = equal_sets(gold, answer)
    if as_sets is not None:
        return as_sets
    if equal_shapes(gold, answer, _equal_scalars):
        return True
    return _is_interval_beside_relation(gold, answer) and _verify(gold, answer)


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
    """The values that a formula states: 3 + 4 and 7 in `x = 3 + 4 = 7`; none in `2x + y = 5`."""
    sides = split_top_level(text, "=")
    while len(sides) > 1 and is_result_name(sides[0], of_gold=of_gold):
        sides = sides[1:]
    while len(sides) > 1 and is_name(sides[-1]) and not is_name(sides[0]):
        sides = sides[:-1]
    return sides


def _names(text: str, gold_names: frozenset[str] = frozenset()) -> frozenset[str]:
    """What is named in an equation: f(x) is y there, and beside a gold's x are x_1 and x_2 x."""
    names = {side for side in split_top_level(text, "=")[:-1] if is_result_name(side)}
    names |= {side for side in split_top_level(text, "=")[-1:] if is_name(side) and not names}
    plain = {_FUNCTION_OF_X.sub("y", name) for name in names}
    return frozenset(
        bare if (bare := _ROOT_NUMBER.sub("", name)) in gold_names else name for name in plain
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
    """The same equation up to a constant factor: `2x - y = -3` is `y = 2x + 3`."""
    if gold.count("=") != 1 or answer.count("=") != 1:
        return False
    left, right = (_difference(equation) for equation in (gold, answer))
    symbols = symbols_of(left, right)
    if not symbols:  # 0.56 = 56/100 states no relation; each side has to be the same
        sides = zip(gold.split("="), answer.split("="), strict=True)
        return all(_equal_values(gold_side, side) for gold_side, side in sides)
    return _ratio(gold, answer) is not None


def _ratio(gold: str, answer: str) -> Any:
    """What one difference of sides is of the other, everywhere; None where that changes."""
    left, right = (_difference(equation) for equation in (gold, answer))
    symbols = symbols_of(left, right)
    ratios = []
    for index in range(3):
        values = [value_of(side.subs(point(symbols, index))) for side in (left, right)]
        if None in values or not all(values):
            return None
        ratios.append(values[0] / values[1])
    is_constant = all(bool(abs(ratio / ratios[0] - 1) <= TOLERANCE) for ratio in ratios)
    return ratios[0] if is_constant and ratios[0].is_real else None


def _difference(equation: str) -> sympy.Expr:
    left, right = (parsed(side) for side in equation.split("="))
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        raise Unparsable(equation)
    return left - right


def _equal_values(gold: str, answer: str) -> bool:
    as_families = same_antiderivative(gold, answer)
    if as_families is not None:
        return as_families
    left, right = parsed(gold), parsed(answer)
    if isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr):
        at_points = equal_at_points(left, right)
        if at_points is not None:
            return at_points
    return bool(verify(left, right, timeout_seconds=None))


def _verify(gold: str, answer: str) -> bool:
    is_equal = verify(
        parsed(gold), parsed(answer), timeout_seconds=None, allow_set_relation_comp=True
    )
    return bool(is_equal)


def _is_interval_beside_relation(gold: str, answer: str) -> bool:
    """`-2 < x < 7` beside `(-2, 7)`, either way round."""
    sets = [text for text in (gold, answer) if not _RELATION.search(text)]
    if len(sets) != 1:
        return False
    kind = take_apart(sets[0]).kind
    return kind == "union" or "," in kind


def _is_gold_readable(gold: str) -> bool:
    readable = True
    if is_real_set(gold):
        return True

    def note(part: str, _: str) -> bool:
        nonlocal readable
        for side in split_top_level(part, "="):
            readable = readable and (plain_number(side) is not None or _is_parsable(side))
        return True

    equal_shapes(gold, gold, note)
    return readable


def _is_parsable(text: str) -> bool:
    try:
        parsed(text)
    except Unparsable:
        return False
    return True
