r"""Reads one formula with Math-Verify's LaTeX parser, exactly, and without its surprises.

What the parser reads wrongly is rewritten first: decimals become fractions (no Float is ever made),
capitals keep their case, degrees become radians inside sin and cos, 2(3) is a product. What no
honest gold contains and no parser survives is refused. Runs in a worker only.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse

__all__ = ["Unparsable", "parsed"]

_CONFIG = LatexExtractionConfig(
    boxed_match_priority=0,
    # Its unit list eats variables: `2ab` would become 2. Units were taken off before.
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
# A tower, or an exponent or a factorial of five digits: no gold has it, and it may take for ever.
_MONSTER = re.compile(
    r"\d[\s)}]*(?:\^|\*\*)[\s({]*\d+[\s)}]*(?:\^|\*\*)[\s({]*\d|(?:\^|\*\*)[\s({+-]*\d{5}|\d{5}[\s)}]*!",
    re.ASCII,
)


# Dropped by the parser: 17\ldots is not 17, and neither is x \equiv 17.
_DROPPED = re.compile(
    r"\\(?:[lcv]?dots|equiv(?!.*mod)|sim|to|[Rr]ightarrow|mapsto|cong|propto|parallel|perp)(?![A-Za-z])|\.\."
)
# It reads \ln 3\cdot 3^x as the logarithm of all that follows.
_FUNCTION_FACTOR = re.compile(
    r"(\\(?:sin|cos|tan|cot|sec|csc|ln|log(?:_(?:\{\w+\}|\w))?)) ?(\d+|[A-Za-z]|\\pi) ?(?=\\cdot)"
)


class Unparsable(ValueError):
    """A formula that the parser makes nothing of."""


@lru_cache(maxsize=4096)
def parsed(text: str) -> Any:
    """The sympy object of a formula; raises Unparsable where the parser makes nothing of it."""
    if not text or _MONSTER.search(text) or _SPLIT_NUMBER.search(text) or _DROPPED.search(text):
        raise Unparsable(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = parse(
            rf"\boxed{{{_for_parser(text)}}}",
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


def _for_parser(text: str) -> str:
    """What the parser reads wrongly, written so that it reads it right."""
    text = _DECIMAL.sub(_decimal_fraction, text)  # exact: no Float is ever made
    text = _MIXED.sub(r"(\1+\2)", text)
    text = _FUNCTION_FACTOR.sub(r"\1(\2)", text)
    text = _NUMBER_TIMES.sub(r"\1\\cdot(", text)  # it takes 2(3) for a mixed number
    in_radians = r"(\1\\cdot\\frac{\\pi}{180})" if _TRIGONOMETRIC.search(text) else r"\1"
    text = _DEGREES.sub(in_radians, text)
    return _CAPITAL.sub(_marked_capital, text)


def _marked_capital(match: re.Match[str]) -> str:
    """The parser folds case: A becomes q_{7765}, which no one writes, so that A is not a."""
    capital, index = match.group("capital", "index")
    if capital is None:
        return match.group()
    return f"{{q_{{77{ord(capital)}{(index or '').strip('_{}')}}}}}"


def _decimal_fraction(match: re.Match[str]) -> str:
    whole, part = match.groups()
    return rf"\frac{{{int(whole + part)}}}{{{10 ** len(part)}}}"
