r"""Sets of real numbers: x<-1 or x>1, (-\infty,-1)\cup(1,\infty) and |x|>1 are one set.

Runs in a worker. A set is a sorted list of spans that do not touch, each with its ends' values;
what cannot be read as one (ends with letters, two unknowns) is None, and is left to others.

    or   \lor, \cup            either
    and  \land, a comma        both; only if nothing is left, a comma was an "or": x<-1, x>1
    \setminus, x \ne a         without
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import sympy

from rewards.math.parsing import Unparsable, parsed
from rewards.math.structure import split_top_level
from rewards.math.values import TOLERANCE, value_of

__all__ = ["equal_sets", "is_real_set"]

_OPERATORS = re.compile(r"(\\(?:le|ge|ne|lt|gt)(?![A-Za-z])|<=|>=|<|>|=)")
_NAMES = {r"\le": "<=", r"\ge": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!="}
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
    has_low: bool
    high: Any
    has_high: bool


_Set = list[_Span]
_LINE = _Span(-sympy.oo, False, sympy.oo, False)


class _Solution(NamedTuple):
    names: frozenset[str]  # of the unknowns that were named
    spans: _Set


def equal_sets(gold: str, answer: str) -> bool | None:
    """Whether both are one set of reals; None where one of them cannot be read as such a set."""
    if not (_MARKS.search(gold) or _MARKS.search(answer)):
        return None
    first, second = _read(gold), _read(answer)
    if first is None or second is None or len(first.names | second.names) > 1:
        return None if first is None or second is None else False
    return len(first.spans) == len(second.spans) and all(map(_same, first.spans, second.spans))


def is_real_set(text: str) -> bool:
    """Relations or a union that can be read as a set of reals."""
    return _MARKS.search(text) is not None and _read(text) is not None


def _read(text: str) -> _Solution | None:
    if len(text) > _MAX_CHARS:
        return None
    parts = [_clauses(part) for part in split_top_level(text, r"\lor")]
    known = [part for part in parts if part is not None]
    names = frozenset[str]().union(*(part.names for part in known))
    if len(known) < len(parts) or len(names) > 1:
        return None
    return _Solution(names, _merged([span for part in known for span in part.spans]))


def _clauses(text: str) -> _Solution | None:
    """What holds at once; what a comma joins and cannot hold at once is joined by "or"."""
    has_and = len(split_top_level(text, r"\land")) > 1
    pieces = [
        _clause(clause)
        for part in split_top_level(text, r"\land")
        for clause in split_top_level(part, ",")
    ]
    known = [piece for piece in pieces if piece is not None]
    if len(known) < len(pieces):
        return None
    both = known[0].spans
    for piece in known[1:]:
        both = _intersection(both, piece.spans)
    if not both and not has_and:
        both = _merged([span for piece in known for span in piece.spans])
    return _Solution(frozenset[str]().union(*(piece.names for piece in known)), both)


def _clause(text: str) -> _Solution | None:
    sides = [side.strip() for side in _OPERATORS.split(text)]
    if len(sides) == 1:
        member = _MEMBER.fullmatch(text)
        spans = _set(member[2] if member else text)
        names = frozenset([member[1]]) if member else frozenset[str]()
        return None if spans is None else _Solution(names, spans)
    operators = [_NAMES.get(mark, mark) for mark in sides[1::2]]
    terms = sides[0::2]
    if len(terms) == 2:
        return _one_relation(terms[0], operators[0], terms[1])
    if len(terms) != 3 or "!=" in operators or operators[0][0] != operators[1][0]:
        return None
    left = _one_relation(terms[0], operators[0], terms[1])
    right = _one_relation(terms[1], operators[1], terms[2])
    if left is None or right is None or not _VARIABLE.fullmatch(terms[1]):
        return None
    return _Solution(left.names, _intersection(left.spans, right.spans))


def _one_relation(left: str, operator: str, right: str) -> _Solution | None:
    for unknown, mark, bound in ((left, operator, right), (right, _FLIPPED[operator], left)):
        if _VARIABLE.fullmatch(unknown):
            values = [_value(part) for part in _signed(bound)]
            return _solved(unknown, mark, values)
        absolute = _ABSOLUTE.fullmatch(unknown)
        if absolute is not None:
            return _distance(absolute, mark, bound)
    return None


def _solved(unknown: str, operator: str, values: list[Any]) -> _Solution | None:
    if (
        None in values
        or (len(values) > 1 and operator != "!=")
        or not all(value.is_finite for value in values if operator in ("=", "!="))
    ):
        return None
    spans = [_LINE]
    for value in values:
        spans = _intersection(spans, _half_line(operator, value))
    return _Solution(frozenset([unknown]), spans)


def _distance(absolute: re.Match[str], operator: str, bound: str) -> _Solution | None:
    """|x - c| < r, and the like, for r above 0."""
    center = _value(f"{absolute[2]}{absolute[3]}") if absolute[2] else sympy.Integer(0)
    radius = _value(bound)
    if center is None or radius is None or not radius > 0 or operator in ("!=", "="):
        return None
    low, high = -center - radius, -center + radius
    below, above = _half_line(operator, high), _half_line(_FLIPPED[operator], low)
    is_inside = operator[0] == "<"
    spans = _intersection(below, above) if is_inside else _merged(below + above)
    return _Solution(frozenset([absolute[1]]), spans)


def _signed(bound: str) -> list[str]:
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


def _set(text: str) -> _Set | None:
    """Intervals, finite sets and the reals, joined by a cup or without some."""
    without = _WITHOUT.split(text)
    if len(without) == 2:
        whole, taken = _set(without[0].strip()), _set(without[1].strip())
        return None if whole is None or taken is None else _difference(whole, taken)
    parts = split_top_level(text, r"\cup")
    if len(parts) > 1:
        sets = [_set(part) for part in parts]
        known = [spans for spans in sets if spans is not None]
        return _merged([s for spans in known for s in spans]) if len(known) == len(sets) else None
    if _REALS.fullmatch(text) or text == r"(-\infty,\infty)":
        return [_LINE]
    if text.startswith(r"\{") and text.endswith(r"\}"):
        values = [_value(part) for part in split_top_level(text[2:-2], ",")]
        return None if None in values else _merged([_Span(v, True, v, True) for v in values])
    return _interval(text)


def _interval(text: str) -> _Set | None:
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]"):
        return None
    ends = split_top_level(text[1:-1], ",")
    values = [_value(end) for end in ends]
    if len(values) != 2 or None in values or not values[0] <= values[1]:
        return None
    low, high = values
    return [_Span(low, text[0] == "[", high, text[-1] == "]")]


def _value(text: str) -> Any:
    """A real number or an infinity; None for everything else."""
    bare = text.strip().removeprefix("+").strip()
    if bare in (r"\infty", r"-\infty"):
        return sympy.oo if bare == r"\infty" else -sympy.oo
    if split_top_level(bare, "=") != (bare,) or "," in bare:
        return None
    try:
        formula = parsed(bare)
    except Unparsable:
        return None
    if not isinstance(formula, sympy.Expr) or formula.free_symbols:
        return None
    value = value_of(formula)
    return value if value is not None and value.is_real else None


def _same(first: _Span, second: _Span) -> bool:
    return (
        (first.has_low, first.has_high) == (second.has_low, second.has_high)
        and _near(first.low, second.low)
        and _near(first.high, second.high)
    )


def _near(first: Any, second: Any) -> bool:
    if not (first.is_finite and second.is_finite):
        return bool(first == second)
    return bool(abs(first - second) <= TOLERANCE * max(1, abs(first), abs(second)))


def _is_empty(span: _Span) -> bool:
    if _near(span.low, span.high):
        return not (span.has_low and span.has_high)
    return bool(span.low > span.high)


def _merged(spans: _Set) -> _Set:
    """Sorted, with those that touch as one."""
    merged: _Set = []
    for span in sorted(
        (s for s in spans if not _is_empty(s)), key=lambda s: (s.low, not s.has_low)
    ):
        last = merged[-1] if merged else None
        touches = last is not None and (
            (_near(last.high, span.low) and (last.has_high or span.has_low))
            or (last.high > span.low and not _near(last.high, span.low))
        )
        if last is None or not touches:
            merged.append(span)
            continue
        if _near(last.high, span.high):
            merged[-1] = last._replace(has_high=last.has_high or span.has_high)
        elif span.high > last.high:
            merged[-1] = last._replace(high=span.high, has_high=span.has_high)
    return merged


def _intersection(first: _Set, second: _Set) -> _Set:
    return _merged([_overlap(one, other) for one in first for other in second])


def _overlap(one: _Span, other: _Span) -> _Span:
    if _near(one.low, other.low):
        low, has_low = one.low, one.has_low and other.has_low
    else:
        low, has_low = max((one.low, one.has_low), (other.low, other.has_low))
    if _near(one.high, other.high):
        high, has_high = one.high, one.has_high and other.has_high
    else:
        high, has_high = min((one.high, one.has_high), (other.high, other.has_high))
    return _Span(low, has_low, high, has_high)


def _difference(whole: _Set, taken: _Set) -> _Set:
    for span in taken:
        gap = [
            _Span(-sympy.oo, False, span.low, not span.has_low),
            _Span(span.high, not span.has_high, sympy.oo, False),
        ]
        whole = _intersection(whole, gap)
    return whole
