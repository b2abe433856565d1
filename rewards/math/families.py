r"""Answers with a free constant: x^2+C is x^2+1+C, and \pi/4+k\pi is \pi/4+n\pi.

Runs in a worker. The constant of an integral has to be there, may be called c or K, and takes up
any other constant. A whole number k before \pi may be called n or m.
"""

from __future__ import annotations

import re

import sympy

from rewards.math.names import split_name
from rewards.math.parsing import parsed
from rewards.math.values import TOLERANCE, point, symbols_of, value_of

__all__ = ["same_antiderivative", "with_one_parameter"]

_CONSTANT_LAST = re.compile(r"(.+)\+([CcK])", re.DOTALL)
_CONSTANT_FIRST = re.compile(r"([CcK])([-+].+)", re.DOTALL)
_PARAMETER = re.compile(r"(?<![A-Za-z\\])([knm])(?= ?\\(?:cdot ?)?pi(?![a-z])|\^\{?\\circ|\\cdot)")
_LETTER = re.compile(r"\\[A-Za-z]+|[A-Za-z]")


def same_antiderivative(gold: str, answer: str) -> bool | None:
    """Whether both differ by a constant; None where the gold has no constant of integration."""
    gold_part, gold_letter = _without_constant(gold)
    if gold_letter not in ("C", "c"):
        return None
    part, letter = _without_constant(answer)
    if letter is None:
        return False
    first, second = parsed(gold_part), parsed(part)
    if not (isinstance(first, sympy.Expr) and isinstance(second, sympy.Expr)):
        return None
    unknowns = symbols_of(first, second)
    if len(unknowns) != 1 or letter == str(unknowns[0]):
        return None
    return _differ_by_a_constant(first, second)


def with_one_parameter(gold: str, answer: str) -> str:
    r"""The answer with the letter that the gold has before \pi, where each has one such letter."""
    names = {match[1] for match in _PARAMETER.finditer(gold)}
    own = {match[1] for match in _PARAMETER.finditer(answer)}
    value = split_name(gold)[1]
    letters = {match.group() for match in _LETTER.finditer(value)}
    if len(names) != 1 or len(own) != 1 or names == own or letters - names - {r"\frac", r"\pi"}:
        return answer
    name, old = names.pop(), own.pop()
    return re.sub(rf"(?<![A-Za-z\\]){old}(?![A-Za-z])", name, answer)


def _without_constant(text: str) -> tuple[str, str | None]:
    last = _CONSTANT_LAST.fullmatch(text)
    if last is not None:
        return last[1], last[2]
    first = _CONSTANT_FIRST.fullmatch(text)
    return (first[2], first[1]) if first is not None else (text, None)


def _differ_by_a_constant(first: sympy.Expr, second: sympy.Expr) -> bool:
    """The difference is the same number at five points, of either sign where it is real there."""
    unknowns = symbols_of(first, second)
    places = [point(unknowns, index) for index in range(3)]
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
