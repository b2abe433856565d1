r"""Sets of real numbers: x<-1 or x>1, (-\infty,-1)\cup(1,\infty) and |x|>1 are one set.

Runs in a worker. A set is a sorted list of spans that do not touch. A text that cannot be read as a
set of numbers (letters as ends, two unknowns) gives None, and is compared elsewhere.

    or   \lor, \cup            union
    and  \land, a comma        intersection; if empty, a comma is a union: x<-1, x>1
    \setminus, x \ne a         difference
"""

from __future__ import annotations

import re
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
    first, second = _parse_solution(gold), _parse_solution(answer)
    if first is None or second is None:
        return None
    if len(first.names | second.names) > 1:
        return False
    return len(first.spans) == len(second.spans) and all(map(_is_same, first.spans, second.spans))


def is_real_set(text: str) -> bool:
    """Whether a text consists of relations or a union that form a set of reals."""
    return _MARKS.search(text) is not None and _parse_solution(text) is not None


def _parse_solution(text: str) -> _Solution | None:
    if len(text) > _MAX_CHARS:
        return None
    parts = [_parse_conjunction(part) for part in split_top_level(text, r"\lor")]
    known = [part for part in parts if part is not None]
    names = frozenset[str]().union(*(part.names for part in known))
    if len(known) < len(parts) or len(names) > 1:
        return None
    return _Solution(names, _merge([span for part in known for span in part.spans]))


def _parse_conjunction(text: str) -> _Solution | None:
    """Read clauses joined by "and" or commas."""
    parts = split_top_level(text, r"\land")
    pieces = [_parse_clause(clause) for part in parts for clause in split_top_level(part, ",")]
    known = [piece for piece in pieces if piece is not None]
    if len(known) < len(pieces):
        return None
    both = known[0].spans
    for piece in known[1:]:
        both = _intersect(both, piece.spans)
    if not both and len(parts) == 1:
        both = _merge([span for piece in known for span in piece.spans])
    return _Solution(frozenset[str]().union(*(piece.names for piece in known)), both)


def _parse_clause(text: str) -> _Solution | None:
    sides = [side.strip() for side in _OPERATORS.split(text)]
    if len(sides) == 1:
        member = _MEMBER.fullmatch(text)
        spans = _parse_set(member[2] if member else text)
        names = frozenset([member[1]]) if member else frozenset[str]()
        return None if spans is None else _Solution(names, spans)
    operators = [_ASCII_OPERATORS.get(mark, mark) for mark in sides[1::2]]
    terms = sides[0::2]
    if len(terms) == 2:
        return _solve_relation(terms[0], operators[0], terms[1])
    if len(terms) != 3 or "!=" in operators or operators[0][0] != operators[1][0]:
        return None
    left = _solve_relation(terms[0], operators[0], terms[1])
    right = _solve_relation(terms[1], operators[1], terms[2])
    if left is None or right is None or not _VARIABLE.fullmatch(terms[1]):
        return None
    return _Solution(left.names, _intersect(left.spans, right.spans))


def _solve_relation(left: str, operator: str, right: str) -> _Solution | None:
    for unknown, mark, bound in ((left, operator, right), (right, _FLIPPED[operator], left)):
        if _VARIABLE.fullmatch(unknown):
            values = [_parse_value(part) for part in _both_signs(bound)]
            return _solve_unknown(unknown, mark, values)
        absolute = _ABSOLUTE.fullmatch(unknown)
        if absolute is not None:
            return _solve_distance(absolute, mark, bound)
    return None


def _solve_unknown(unknown: str, operator: str, values: list[Any]) -> _Solution | None:
    if (
        None in values
        or (len(values) > 1 and operator != "!=")
        or not all(value.is_finite for value in values if operator in ("=", "!="))
    ):
        return None
    spans = [_REAL_LINE]
    for value in values:
        spans = _intersect(spans, _half_line(operator, value))
    return _Solution(frozenset([unknown]), spans)


def _solve_distance(absolute: re.Match[str], operator: str, bound: str) -> _Solution | None:
    """Solve |x - c| < r and the like for positive r."""
    center = _parse_value(f"{absolute[2]}{absolute[3]}") if absolute[2] else sympy.Integer(0)
    radius = _parse_value(bound)
    if center is None or radius is None or not radius > 0 or operator in ("!=", "="):
        return None
    low, high = -center - radius, -center + radius
    below, above = _half_line(operator, high), _half_line(_FLIPPED[operator], low)
    is_inside = operator[0] == "<"
    spans = _intersect(below, above) if is_inside else _merge(below + above)
    return _Solution(frozenset([absolute[1]]), spans)


def _both_signs(bound: str) -> list[str]:
    if bound.count(r"\pm") == 1:
        return [bound.replace(r"\pm", ""), bound.replace(r"\pm", "-")]
    return [bound]


def _half_line(operator: str, value: Any) -> _Set:
    if operator == "!=":
        return [_Span(-sympy.oo, False, value, False), _Span(value, False, sympy.oo, False)]
    if operator == "=":
        return [_Span(value, True, value, True)]
    has_end = operator.endswith("=") and value.is_finite
    if operator.startswith("<"):
        return [_Span(-sympy.oo, False, value, has_end)]
    return [_Span(value, has_end, sympy.oo, False)]


def _parse_set(text: str) -> _Set | None:
    """Read intervals, finite sets and the reals, joined by a cup or with a set difference."""
    without = _WITHOUT.split(text)
    if len(without) == 2:
        whole, taken = _parse_set(without[0].strip()), _parse_set(without[1].strip())
        return None if whole is None or taken is None else _subtract(whole, taken)
    parts = split_top_level(text, r"\cup")
    if len(parts) > 1:
        sets = [_parse_set(part) for part in parts]
        known = [spans for spans in sets if spans is not None]
        return _merge([s for spans in known for s in spans]) if len(known) == len(sets) else None
    if _REALS.fullmatch(text) or text == r"(-\infty,\infty)":
        return [_REAL_LINE]
    if text.startswith(r"\{") and text.endswith(r"\}"):
        values = [_parse_value(part) for part in split_top_level(text[2:-2], ",")]
        return None if None in values else _merge([_Span(v, True, v, True) for v in values])
    return _parse_interval(text)


def _parse_interval(text: str) -> _Set | None:
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]"):
        return None
    ends = split_top_level(text[1:-1], ",")
    values = [_parse_value(end) for end in ends]
    if len(values) != 2 or None in values or not values[0] <= values[1]:
        return None
    low, high = values
    return [_Span(low, text[0] == "[", high, text[-1] == "]")]


def _parse_value(text: str) -> Any:
    """Return a real number or an infinity, or None."""
    bare = text.strip().removeprefix("+").strip()
    if bare in (r"\infty", r"-\infty"):
        return sympy.oo if bare == r"\infty" else -sympy.oo
    if split_top_level(bare, "=") != (bare,) or "," in bare:
        return None
    try:
        formula = parse_formula(bare)
    except Unparsable:
        return None
    if not isinstance(formula, sympy.Expr) or formula.free_symbols:
        return None
    value = value_of(formula)
    return value if value is not None and value.is_real else None


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
    for span in sorted(
        (s for s in spans if not _is_empty(s)), key=lambda s: (s.low, not s.has_low)
    ):
        last = merged[-1] if merged else None
        touches = last is not None and (
            (_is_close(last.high, span.low) and (last.has_high or span.has_low))
            or (last.high > span.low and not _is_close(last.high, span.low))
        )
        if last is None or not touches:
            merged.append(span)
            continue
        if _is_close(last.high, span.high):
            merged[-1] = last._replace(has_high=last.has_high or span.has_high)
        elif span.high > last.high:
            merged[-1] = last._replace(high=span.high, has_high=span.has_high)
    return merged


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
