r"""Sets of real numbers: x<-1 or x>1, (-\infty,-1)\cup(1,\infty) and |x|>1 are one set.

Runs in a worker. A set is a sorted list of spans that do not touch. Texts that are no such set
(letters as ends, two unknowns) are compared elsewhere.

    or   \lor, \cup            union
    and  \land, a comma        intersection; if empty, a comma is a union: x<-1, x>1
    \setminus, x \ne a         difference
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import sympy

from rewards.math.formulas import TOLERANCE, Unparsable, parse_formula, value_of
from rewards.math.shapes import split_top_level

__all__ = ["equal_sets", "is_real_set"]

_OPERATORS = re.compile(r"(\\(?:le|ge|ne|lt|gt)(?![A-Za-z])|<=|>=|<|>|=)")
_ASCII_OPERATORS = {r"\le": "<=", r"\ge": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!="}
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}
_VARIABLE = re.compile(r"(?!e$|i$|\\pi$|\\infty$)(?:[A-Za-z]|\\[a-z]{2,7})(?:_\{?\w\}?)?")
_ABSOLUTE = re.compile(r"\|([a-z])(?:([-+])([^|a-z]+))?\|")
_MEMBER = re.compile(r"([a-zA-Z]) ?\\in ?(.+)", re.DOTALL)
_REALS = re.compile(r"\\mathbb ?(?:\{ ?R ?\}|R)")
_WITHOUT = re.compile(r"\\(?:setminus|backslash)(?![A-Za-z])")
_MARKS = re.compile(r"[<>]|\\(?:le|ge|ne|cup|setminus|backslash)(?![A-Za-z])")
_MAX_CHARS = 300


class _Span(NamedTuple):
    low: Any
    has_low: bool  # the lower end belongs to the span
    high: Any
    has_high: bool


_Set = list[_Span]
_REAL_LINE = _Span(-sympy.oo, False, sympy.oo, False)


class _Solution(NamedTuple):
    names: frozenset[str]  # of the unknowns
    spans: _Set


def equal_sets(gold: str, answer: str) -> bool | None:
    """Compare sets of reals; return None if either side cannot be read as one."""
    if not (_MARKS.search(gold) or _MARKS.search(answer)):
        return None
    try:
        first, second = _parse_solution(gold), _parse_solution(answer)
    except Unparsable:
        return None
    if len(first.names | second.names) > 1 or len(first.spans) != len(second.spans):
        return False
    return all(map(_is_same, first.spans, second.spans))


def is_real_set(text: str) -> bool:
    """Whether a text consists of relations or a union that form a set of reals."""
    return _MARKS.search(text) is not None and equal_sets(text, text) is not None


@lru_cache(maxsize=1024)
def _parse_solution(text: str) -> _Solution:
    if len(text) > _MAX_CHARS:
        raise Unparsable(text)
    parts = [_parse_conjunction(part) for part in split_top_level(text, r"\lor")]
    names = frozenset[str]().union(*(part.names for part in parts))
    if len(names) > 1:
        raise Unparsable(text)
    return _Solution(names, _merge([span for part in parts for span in part.spans]))


def _parse_conjunction(text: str) -> _Solution:
    """Read clauses joined by "and" or commas."""
    parts = split_top_level(text, r"\land")
    clauses = [_parse_clause(clause) for part in parts for clause in split_top_level(part, ",")]
    both = clauses[0].spans
    for clause in clauses[1:]:
        both = _intersect(both, clause.spans)
    if not both and len(parts) == 1:
        both = _merge([span for clause in clauses for span in clause.spans])
    return _Solution(frozenset[str]().union(*(clause.names for clause in clauses)), both)


def _parse_clause(text: str) -> _Solution:
    sides = [side.strip() for side in _OPERATORS.split(text)]
    if len(sides) == 1:
        member = _MEMBER.fullmatch(text)
        spans = _parse_set(member[2] if member else text)
        return _Solution(frozenset([member[1]] if member else []), spans)
    operators = [_ASCII_OPERATORS.get(mark, mark) for mark in sides[1::2]]
    terms = sides[0::2]
    if len(terms) == 2:
        return _solve(terms[0], operators[0], terms[1])
    is_chain = len(terms) == 3 and "!=" not in operators and operators[0][0] == operators[1][0]
    if not is_chain or not _VARIABLE.fullmatch(terms[1]):
        raise Unparsable(text)
    left = _solve(terms[0], operators[0], terms[1])
    right = _solve(terms[1], operators[1], terms[2])
    return _Solution(left.names, _intersect(left.spans, right.spans))


def _solve(left: str, operator: str, right: str) -> _Solution:
    for unknown, mark, bound in ((left, operator, right), (right, _FLIPPED[operator], left)):
        if _VARIABLE.fullmatch(unknown):
            return _Solution(frozenset([unknown]), _half_lines(mark, bound))
        absolute = _ABSOLUTE.fullmatch(unknown)
        if absolute is not None:
            return _Solution(frozenset([absolute[1]]), _neighborhood(absolute, mark, bound))
    raise Unparsable(f"{left}{operator}{right}")


def _half_lines(operator: str, bound: str) -> _Set:
    r"""Return the solutions of x < bound and the like; a bound may have `\pm` in x != bound."""
    has_sign = bound.count(r"\pm") == 1
    bounds = [bound.replace(r"\pm", sign) for sign in ("", "-")] if has_sign else [bound]
    values = [_parse_value(value) for value in bounds]
    is_finite = all(value.is_finite for value in values)
    if (has_sign and operator != "!=") or (operator in ("=", "!=") and not is_finite):
        raise Unparsable(bound)
    spans = [_REAL_LINE]
    for value in values:
        spans = _intersect(spans, _half_line(operator, value))
    return spans


def _neighborhood(absolute: re.Match[str], operator: str, bound: str) -> _Set:
    """Return the solutions of |x - c| < r and the like for positive r."""
    center = _parse_value(f"{absolute[2]}{absolute[3]}") if absolute[2] else sympy.Integer(0)
    radius = _parse_value(bound)
    if not radius > 0 or operator in ("!=", "="):
        raise Unparsable(bound)
    below = _half_line(operator, -center + radius)
    above = _half_line(_FLIPPED[operator], -center - radius)
    return _intersect(below, above) if operator[0] == "<" else _merge(below + above)


def _half_line(operator: str, value: Any) -> _Set:
    if operator == "!=":
        return [_Span(-sympy.oo, False, value, False), _Span(value, False, sympy.oo, False)]
    if operator == "=":
        return [_Span(value, True, value, True)]
    has_end = operator.endswith("=") and value.is_finite
    if operator.startswith("<"):
        return [_Span(-sympy.oo, False, value, has_end)]
    return [_Span(value, has_end, sympy.oo, False)]


def _parse_set(text: str) -> _Set:
    """Read intervals, finite sets and the reals, joined by a cup or with a set difference."""
    without = _WITHOUT.split(text)
    if len(without) == 2:
        return _subtract(_parse_set(without[0].strip()), _parse_set(without[1].strip()))
    parts = split_top_level(text, r"\cup")
    if len(parts) > 1:
        return _merge([span for part in parts for span in _parse_set(part)])
    if _REALS.fullmatch(text) or text == r"(-\infty,\infty)":
        return [_REAL_LINE]
    if text.startswith(r"\{") and text.endswith(r"\}"):
        values = [_parse_value(part) for part in split_top_level(text[2:-2], ",")]
        return _merge([_Span(value, True, value, True) for value in values])
    if not (text.startswith(("(", "[")) and text.endswith((")", "]"))):
        raise Unparsable(text)
    ends = [_parse_value(end) for end in split_top_level(text[1:-1], ",")]
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise Unparsable(text)
    return [_Span(ends[0], text[0] == "[", ends[1], text[-1] == "]")]


def _parse_value(text: str) -> Any:
    bare = text.strip().removeprefix("+").strip()
    if bare in (r"\infty", r"-\infty"):
        return sympy.oo if bare == r"\infty" else -sympy.oo
    if split_top_level(bare, "=") != (bare,) or "," in bare:
        raise Unparsable(text)
    formula = parse_formula(bare)
    if not isinstance(formula, sympy.Expr) or formula.free_symbols:
        raise Unparsable(text)
    value = value_of(formula)
    if value is None or not value.is_real:
        raise Unparsable(text)
    return value


def _is_same(first: _Span, second: _Span) -> bool:
    return (
        (first.has_low, first.has_high) == (second.has_low, second.has_high)
        and _is_close(first.low, second.low)
        and _is_close(first.high, second.high)
    )


def _is_close(first: Any, second: Any) -> bool:
    if not (first.is_finite and second.is_finite):
        return bool(first == second)
    return bool(abs(first - second) <= TOLERANCE * max(1, abs(first), abs(second)))


def _is_empty(span: _Span) -> bool:
    if _is_close(span.low, span.high):
        return not (span.has_low and span.has_high)
    return bool(span.low > span.high)


def _merge(spans: _Set) -> _Set:
    """Sort spans and join those that touch."""
    merged: _Set = []
    nonempty = (span for span in spans if not _is_empty(span))
    for span in sorted(nonempty, key=lambda span: (span.low, not span.has_low)):
        last = merged[-1] if merged else None
        if last is None or not _touch(last, span):
            merged.append(span)
        elif _is_close(last.high, span.high):
            merged[-1] = last._replace(has_high=last.has_high or span.has_high)
        elif span.high > last.high:
            merged[-1] = last._replace(high=span.high, has_high=span.has_high)
    return merged


def _touch(left: _Span, right: _Span) -> bool:
    if _is_close(left.high, right.low):
        return left.has_high or right.has_low
    return bool(left.high > right.low)


def _intersect(first: _Set, second: _Set) -> _Set:
    return _merge([_overlap(one, other) for one in first for other in second])


def _overlap(one: _Span, other: _Span) -> _Span:
    if _is_close(one.low, other.low):
        low, has_low = one.low, one.has_low and other.has_low
    else:
        low, has_low = max((one.low, one.has_low), (other.low, other.has_low))
    if _is_close(one.high, other.high):
        high, has_high = one.high, one.has_high and other.has_high
    else:
        high, has_high = min((one.high, one.has_high), (other.high, other.has_high))
    return _Span(low, has_low, high, has_high)


def _subtract(whole: _Set, taken: _Set) -> _Set:
    for span in taken:
        gap = [
            _Span(-sympy.oo, False, span.low, not span.has_low),
            _Span(span.high, not span.has_high, sympy.oo, False),
        ]
        whole = _intersect(whole, gap)
    return whole
