r"""Parse one formula with Math-Verify's LaTeX parser and evaluate it. Runs in a worker only.

`parse_formula` rewrites whatever the parser misreads (decimals become fractions, so that there are
no Floats; capitals keep their case; degrees become radians inside sin and cos; 2(3) is a product)
and rejects formulas that occur in no honest gold and might never finish.

`equal_at_points` compares values, because Math-Verify's `verify` rounds (1/2006! equals 1/2004!
there): to `_DIGITS` digits at fixed points in general position, and exactly where possible, since
2^{2024}+1 is not 2^{2024}.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse
from sympy.core.function import AppliedUndef

__all__ = [
    "TOLERANCE",
    "Unparsable",
    "equal_at_points",
    "parse_formula",
    "sample_point",
    "symbols_of",
    "value_of",
]

_DIGITS = 60
TOLERANCE = sympy.Float(10) ** -40
_MAX_DIGITS = 2000
# What sympy raises on expressions without a value.
_NO_VALUE = (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError)

_CONFIG = LatexExtractionConfig(
    boxed_match_priority=0,
    # Its unit list removes variables: `2ab` would become 2. Units were split off before.
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="last"
    ),
)
_DECIMAL = re.compile(r"(?<![\d.])(\d*)\.(\d+)(?![\d.])", re.ASCII)
_MIXED = re.compile(r"(?<![\d.}^_])(\d+)\s*(\\frac\{\d+\}\{\d+\})", re.ASCII)
_NUMBER_TIMES = re.compile(r"(?<![A-Za-z_{\d])(\d+)\(", re.ASCII)
_SPLIT_NUMBER = re.compile(r"(?<![_^\d])\d+ \d", re.ASCII)
_DEGREES = re.compile(r"(\d+|\\frac\{\d+\}\{\d+\})\s*(?:\^\{?\\circ\}?|\\degree)", re.ASCII)
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_CAPITAL = re.compile(
    r"\\(?:text|mathrm|mbox|operatorname|begin|end)\{[^{}]*\}|\\[A-Za-z]+"
    r"|(?P<capital>[A-Z])(?P<index>_(?:\{\w+\}|\w))?"
)
# Power towers, exponents and factorials of five digits: no honest gold has one, and they may hang.
_HUGE_POWER = re.compile(
    r"\d[\s)}]*(?:\^|\*\*)[\s({]*\d+[\s)}]*(?:\^|\*\*)[\s({]*\d|(?:\^|\*\*)[\s({+-]*\d{5}|\d{5}[\s)}]*!",
    re.ASCII,
)
# Dropped by the parser: 17\ldots is not 17, and neither is x \equiv 17.
_DROPPED = re.compile(
    r"\\(?:[lcv]?dots|equiv(?!.*mod)|sim|to|[Rr]ightarrow|mapsto|cong|propto|parallel|perp)(?![A-Za-z])|\.\."
)
# Without brackets the parser reads \ln 3\cdot 3^x as the logarithm of the whole product.
_FUNCTION_FACTOR = re.compile(
    r"(\\(?:sin|cos|tan|cot|sec|csc|ln|log(?:_(?:\{\w+\}|\w))?)) ?(\d+|[A-Za-z]|\\pi) ?(?=\\cdot)"
)


class Unparsable(ValueError):
    """A formula that the parser cannot read."""


@lru_cache(maxsize=4096)
def parse_formula(text: str) -> Any:
    """Return a formula as a sympy object.

    Raises:
        Unparsable: the parser cannot read the formula, or might not finish it.
    """
    if not text or _HUGE_POWER.search(text) or _SPLIT_NUMBER.search(text) or _DROPPED.search(text):
        raise Unparsable(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = parse(
            rf"\boxed{{{_rewrite_for_parser(text)}}}",
            extraction_config=[_CONFIG],
            fallback_mode="no_fallback",
            extraction_mode="first_match",
            parsing_timeout=None,
        )
    if not found or isinstance(found[0], str):
        raise Unparsable(text)
    formula = found[0]
    imaginary = [symbol for symbol in formula.free_symbols if symbol.name == "i"]
    return formula.subs(imaginary[0], sympy.I) if imaginary else formula


def _rewrite_for_parser(text: str) -> str:
    text = _DECIMAL.sub(_decimal_fraction, text)
    text = _MIXED.sub(r"(\1+\2)", text)
    text = _FUNCTION_FACTOR.sub(r"\1(\2)", text)
    text = _NUMBER_TIMES.sub(r"\1\\cdot(", text)  # it takes 2(3) for a mixed number
    in_radians = r"(\1\\cdot\\frac{\\pi}{180})" if _TRIGONOMETRIC.search(text) else r"\1"
    text = _DEGREES.sub(in_radians, text)
    return _CAPITAL.sub(_rename_capital, text)


def _decimal_fraction(match: re.Match[str]) -> str:
    whole, part = match.groups()
    return rf"\frac{{{int(whole + part)}}}{{{10 ** len(part)}}}"


def _rename_capital(match: re.Match[str]) -> str:
    """Rename A to q_{7765}, because the parser folds case."""
    capital, index = match.group("capital", "index")
    if capital is None:
        return match.group()
    return f"{{q_{{77{ord(capital)}{(index or '').strip('_{}')}}}}}"


def equal_at_points(left: sympy.Expr, right: sympy.Expr) -> bool | None:
    """Compare values at fixed points; return None where either has no value."""
    if left.atoms(AppliedUndef) or right.atoms(AppliedUndef):
        return None
    left, right = (side.doit() if side.has(sympy.Sum) else side for side in (left, right))
    symbols = symbols_of(left, right)
    num_points = 3 if symbols else 1
    verdicts = [_equal_at(left, right, sample_point(symbols, index)) for index in range(num_points)]
    if symbols and not (left.has(sympy.I) or right.has(sympy.I)):
        # |x| is not x. A function such as sqrt(x) without a real value there is not compared.
        points = (sample_point(symbols, 3, sign=-1), *_wide_points(symbols))
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
    """Compare rational functions exactly at primes, and numbers to many digits."""
    if symbols and not (_is_rational_function(left) and _is_rational_function(right)):
        return None
    place = {symbol: sympy.prime(20 + 7 * number) for number, symbol in enumerate(symbols)}
    values = [side.subs(place).doit() if place else side.doit() for side in (left, right)]
    if all(value.is_Rational for value in values):
        return bool(values[0] == values[1])
    if symbols:
        return None
    try:
        rest = sympy.N(values[0] - values[1], 15, maxn=_MAX_DIGITS)
    except _NO_VALUE:
        return None
    return False if rest.is_Float and rest != 0 and rest._prec > 1 else None


def _is_rational_function(side: sympy.Expr) -> bool:
    """Whether no exponent is a symbol or a large number, so that exact values stay short."""
    powers = (power.exp for power in side.atoms(sympy.Pow) if power.free_symbols)
    kinds = (sympy.Symbol, sympy.Rational, sympy.Add, sympy.Mul, sympy.Pow)
    return all(size.is_Integer and abs(size) < 200 for size in powers) and all(
        isinstance(node, kinds) for node in sympy.preorder_traversal(side)
    )


def value_of(expression: sympy.Expr) -> Any:
    """Return a finite complex number of `_DIGITS` digits, or None."""
    try:
        exact = expression.doit()
        if exact.is_zero:
            return sympy.Integer(0)
        value = sympy.N(exact, _DIGITS, maxn=4 * _DIGITS)
    except _NO_VALUE:
        return None
    if not value.is_number or not value.is_finite or value.has(sympy.nan, sympy.zoo, sympy.oo):
        return None
    real, imaginary = value.as_real_imag()
    return value if real.is_Number and imaginary.is_Number else None


def sample_point(symbols: Iterable[sympy.Symbol], index: int, sign: int = 1) -> dict[Any, Any]:
    """Assign roots of primes over small numbers: no zeros of polynomials with small coefficients.

    With `sign` -1 every second symbol is negative, so that sqrt(xy) keeps one branch.
    """
    return {
        symbol: (sign if position % 2 == 0 else 1)
        * (sympy.sqrt(sympy.prime(4 + 5 * position + index)) / (3 + index)).n(_DIGITS + 20)
        for position, symbol in enumerate(symbols)
    }


def _wide_points(symbols: Iterable[sympy.Symbol]) -> list[dict[Any, Any]]:
    """Points far from zero, in either order and of either sign: |x - y| is not y - x."""
    up, down = sample_point(symbols, 4), sample_point(symbols, 5, sign=-1)
    return [
        {symbol: value * 7 / (1 + 3 * place) for place, (symbol, value) in enumerate(up.items())},
        {symbol: -value * 5 for symbol, value in down.items()},
        {symbol: value * 9 for symbol, value in down.items()},
    ]


def symbols_of(left: sympy.Expr, right: sympy.Expr) -> list[sympy.Symbol]:
    """Return the symbols of both expressions, sorted by name."""
    return sorted(left.free_symbols | right.free_symbols, key=lambda symbol: str(symbol.name))
