r"""Values of formulas, to `_DIGITS` digits at fixed points in general position. Runs in a worker.

Math-Verify's `verify` rounds (1/2006! equals 1/2004! there), so values are compared here. What is
near is asked once more exactly: 2^{2024}+1 is not 2^{2024}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy
from sympy.core.function import AppliedUndef

__all__ = ["TOLERANCE", "equal_at_points", "point", "symbols_of", "value_of"]

_DIGITS = 60
TOLERANCE = sympy.Float(10) ** -40
_MOST_DIGITS = 2000


def equal_at_points(left: sympy.Expr, right: sympy.Expr) -> bool | None:
    """Compare values at fixed points in general position; None where there is no value."""
    if left.atoms(AppliedUndef) or right.atoms(AppliedUndef):
        return None
    left, right = (side.doit() if side.has(sympy.Sum) else side for side in (left, right))
    symbols = symbols_of(left, right)
    num_points = 3 if symbols else 1
    verdicts = [_equal_at(left, right, point(symbols, index)) for index in range(num_points)]
    if symbols and not (left.has(sympy.I) or right.has(sympy.I)):
        # |x| is not x; but sqrt(x) has no real value there, and says nothing.
        points = (point(symbols, 3, sign=-1), *_wide_points(symbols))
        verdicts += [_equal_at(left, right, place, is_real=True) for place in points]
    verdicts.append(_equal_exactly(left, right, symbols))
    decided = [verdict for verdict in verdicts if verdict is not None]
    return all(decided) if decided else None


def _equal_at(
    left: sympy.Expr, right: sympy.Expr, place: dict[Any, Any], is_real: bool = False
) -> bool | None:
    values = [value_of(side.subs(place) if place else side) for side in (left, right)]
    if None in values or (is_real and not all(value.is_real for value in values)):
        return None
    size = max(abs(values[0]), abs(values[1]))
    if size == 0:
        return True
    return bool(abs(values[0] - values[1]) <= TOLERANCE * size)


def _equal_exactly(left: sympy.Expr, right: sympy.Expr, symbols: list[sympy.Symbol]) -> bool | None:
    """Nearness is not equality: for rational values at primes, and for numbers to many digits."""
    if symbols and not (_is_rational_function(left) and _is_rational_function(right)):
        return None
    place = {symbol: sympy.prime(20 + 7 * number) for number, symbol in enumerate(symbols)}
    values = [side.subs(place).doit() if place else side.doit() for side in (left, right)]
    if all(value.is_Rational for value in values):
        return bool(values[0] == values[1])
    if symbols:
        return None
    try:
        rest = sympy.N(values[0] - values[1], 15, maxn=_MOST_DIGITS)
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    return False if rest.is_Float and rest != 0 and rest._prec > 1 else None


def _is_rational_function(side: sympy.Expr) -> bool:
    """No power with a letter or a large number above: its exact value may have no end."""
    powers = (power.exp for power in side.atoms(sympy.Pow) if power.free_symbols)
    kinds = (sympy.Symbol, sympy.Rational, sympy.Add, sympy.Mul, sympy.Pow)
    return all(size.is_Integer and abs(size) < 200 for size in powers) and all(
        isinstance(node, kinds) for node in sympy.preorder_traversal(side)
    )


def value_of(expression: sympy.Expr) -> Any:
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


def point(symbols: Iterable[sympy.Symbol], index: int, sign: int = 1) -> dict[Any, Any]:
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
    up, down = point(symbols, 4), point(symbols, 5, sign=-1)
    return [
        {symbol: value * 7 / (1 + 3 * place) for place, (symbol, value) in enumerate(up.items())},
        {symbol: -value * 5 for symbol, value in down.items()},
        {symbol: value * 9 for symbol, value in down.items()},
    ]


def symbols_of(left: sympy.Expr, right: sympy.Expr) -> list[sympy.Symbol]:
    """The letters of both, in one order."""
    return sorted(left.free_symbols | right.free_symbols, key=lambda symbol: str(symbol.name))
