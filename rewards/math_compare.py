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
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import sympy
from math_verify import verify
from sympy.core.function import AppliedUndef

from rewards.math_parsing import Unparsable, parsed
from rewards.math_structure import equal_shapes, split_top_level, take_apart
from rewards.plain_numbers import plain_number

__all__ = ["Verdict", "compare", "compare_job"]

_DIGITS = 60
_TOLERANCE = sympy.Float(10) ** -40
_RELATION = re.compile(r"[<>]|\\(?:le|ge|lt|gt|ne)(?![A-Za-z])")
_SYMBOL = re.compile(
    r"(?!\\(?:sin|cos|tan|cot|sec|csc|ln|log|exp|pi|infty|emptyset)(?![a-z])|[ei]$)(?:\\(?:angle|triangle)\s*)?\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z](?:,[A-Za-z])*\))?"
)


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
        if equal_shapes(gold, answer, _equal_scalars):
            return Verdict.EQUAL
        if _is_interval_beside_relation(gold, answer) and _verify(gold, answer):
            return Verdict.EQUAL
    except Unparsable:
        pass
    return Verdict.DIFFERENT if _is_gold_readable(gold) else Verdict.BAD_GOLD


def _equal_scalars(gold: str, answer: str) -> bool:
    if gold == answer:
        return True
    numbers = plain_number(gold), plain_number(answer)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if _RELATION.search(gold) or _RELATION.search(answer):
        return bool(_RELATION.search(gold)) == bool(_RELATION.search(answer)) and _verify(
            gold, answer
        )
    gold_sides, sides = _sides(gold), _sides(answer)
    if "=" in gold and "=" in answer:
        names, gold_names = set(_names(answer)), set(_names(gold))
        if len(gold_sides) > 1 or names != gold_names:
            return _equal_equations(gold, answer)
    elif len(gold_sides) > 1:
        return False
    return all(_equal_values(gold_sides[0], side) for side in sides)


def _sides(text: str) -> tuple[str, ...]:
    """The values that a formula states: 3 + 4 and 7 in `x = 3 + 4 = 7`; none in `2x + y = 5`."""
    sides = split_top_level(text, "=")
    values = tuple(side for side in sides if not _SYMBOL.fullmatch(side) or len(sides) == 1)
    return values or sides


def _names(text: str) -> tuple[str, ...]:
    return tuple(side for side in split_top_level(text, "=") if _SYMBOL.fullmatch(side))


def _equal_equations(gold: str, answer: str) -> bool:
    """The same equation up to a constant factor: `2x - y = -3` is `y = 2x + 3`."""
    if gold.count("=") != 1 or answer.count("=") != 1:
        return False
    left, right = (_difference(equation) for equation in (gold, answer))
    symbols = _symbols(left, right)
    if not symbols:  # 0.56 = 56/100 states no relation; each side has to be the same
        sides = zip(gold.split("="), answer.split("="), strict=True)
        return all(_equal_values(gold_side, side) for gold_side, side in sides)
    ratios = []
    for index in range(3):
        values = [_value(side.subs(_point(symbols, index))) for side in (left, right)]
        if None in values or not all(values):
            return False
        ratios.append(values[0] / values[1])
    return all(bool(abs(ratio / ratios[0] - 1) <= _TOLERANCE) for ratio in ratios)


def _difference(equation: str) -> sympy.Expr:
    left, right = (parsed(side) for side in equation.split("="))
    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        raise Unparsable(equation)
    return left - right


def _symbols(left: sympy.Expr, right: sympy.Expr) -> list[sympy.Symbol]:
    return sorted(left.free_symbols | right.free_symbols, key=lambda symbol: str(symbol.name))


def _equal_values(gold: str, answer: str) -> bool:
    left, right = parsed(gold), parsed(answer)
    if isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr):
        at_points = _equal_at_points(left, right)
        if at_points is not None:
            return at_points
    return bool(verify(left, right, timeout_seconds=None))


def _equal_at_points(left: sympy.Expr, right: sympy.Expr) -> bool | None:
    """Compare values at fixed points in general position; None where there is no value."""
    if left.atoms(AppliedUndef) or right.atoms(AppliedUndef):
        return None
    left, right = (side.doit() if side.has(sympy.Sum) else side for side in (left, right))
    symbols = _symbols(left, right)
    num_points = 3 if symbols else 1
    verdicts = [_equal_at(left, right, _point(symbols, index)) for index in range(num_points)]
    if symbols and not (left.has(sympy.I) or right.has(sympy.I)):
        # |x| is not x; but sqrt(x) has no real value there, and says nothing.
        points = (_point(symbols, 3, sign=-1), *_wide_points(symbols))
        verdicts += [_equal_at(left, right, point, is_real=True) for point in points]
    decided = [verdict for verdict in verdicts if verdict is not None]
    return all(decided) if decided else None


def _equal_at(
    left: sympy.Expr, right: sympy.Expr, point: dict[Any, Any], is_real: bool = False
) -> bool | None:
    values = [_value(side.subs(point) if point else side) for side in (left, right)]
    if None in values or (is_real and not all(value.is_real for value in values)):
        return None
    size = max(abs(values[0]), abs(values[1]))
    if size == 0:
        return True
    return bool(abs(values[0] - values[1]) <= _TOLERANCE * size)


def _value(expression: sympy.Expr) -> Any:
    """A finite complex number of `_DIGITS` digits; None where the expression has none."""
    try:
        exact = expression.doit()
        if exact.is_zero:
            return sympy.Integer(0)
        value = sympy.N(exact, _DIGITS, maxn=4 * _DIGITS)
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None  # what sympy raises on expressions that have no value
    if not value.is_number or not value.is_finite or value.has(sympy.nan, sympy.zoo, sympy.oo):
        return None
    real, imaginary = value.as_real_imag()
    return value if real.is_Number and imaginary.is_Number else None


def _point(symbols: Iterable[sympy.Symbol], index: int, sign: int = 1) -> dict[Any, Any]:
    """Roots of primes over small numbers: no polynomial with small coefficients is zero there.

    With `sign` -1 every second symbol is negative, so that sqrt(xy) keeps one branch.
    """
    return {
        symbol: (sign if position % 2 == 0 else 1)
        * (sympy.sqrt(sympy.prime(4 + 5 * position + index)) / (3 + index)).n(_DIGITS + 20)
        for position, symbol in enumerate(symbols)
    }


def _wide_points(symbols: Iterable[sympy.Symbol]) -> list[dict[Any, Any]]:
    """Far from zero, in either order and of either sign: |x - y| is not y - x."""
    up, down = _point(symbols, 4), _point(symbols, 5, sign=-1)
    return [
        {symbol: value * 7 / (1 + 3 * place) for place, (symbol, value) in enumerate(up.items())},
        {symbol: -value * 5 for symbol, value in down.items()},
        {symbol: value * 9 for symbol, value in down.items()},
    ]


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
