r"""The outer shape of an answer: lists, tuples, sets, intervals, unions and matrices of scalars.

Runs in a worker. Shapes are compared here, so that the parser sees one scalar at a time and its
ideas of sets, intervals and of several answers never matter:

    | written              | kind        | compared                                  |
    |----------------------|-------------|-------------------------------------------|
    | 3, -3    \{3, -3\}   | set         | in any order                              |
    | a \pm b              | set         | of a + b and a - b                        |
    | (1, 2)               | `(,)`       | in order; also the open interval          |
    | [1, 2)               | `[,)`       | in order, with the same brackets          |
    | A \cup B             | union       | in any order                              |
    | \begin{pmatrix} ...  | matrix      | shape and entries; any kind of bracket    |
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Shape", "equal_shapes", "split_top_level", "take_apart"]

_MATRIX = re.compile(r"\\begin\{([pbB]?)matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)
_BRACKETS = {"(": ")", "[": "]"}
_MAX_ELEMENTS = 200


class Shape(NamedTuple):
    """A shape and its parts; a scalar's only part is its own text."""

    kind: str  # "scalar", "set", "union", "matrix RxC", or the brackets of a tuple or an interval
    parts: tuple[str, ...]


def take_apart(text: str) -> Shape:
    """The outermost shape of a tidy answer."""
    text = text.strip()
    matrix = _MATRIX.fullmatch(text)
    if matrix is not None and "\\begin" not in matrix[2]:
        return _matrix(matrix[2])
    union = split_top_level(text, r"\cup")
    if len(union) > 1:
        return Shape("union", union)
    items = split_top_level(text, ",")
    if len(items) > 1:
        return Shape("set", _both_signs(items))
    ratio = split_top_level(text, ":")
    if len(ratio) > 2:  # each part beside the next one: 1:2:3 is 1:2 and 2:3
        pairs = tuple(f"{left}:{right}" for left, right in itertools.pairwise(ratio))
        return Shape(f"ratio of {len(ratio)}", pairs)
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return Shape("set", _both_signs(split_top_level(text[2:-2], ",")))
    if text[:1] in _BRACKETS and text[-1:] in ")]" and _closes_at_end(text):
        inner = split_top_level(text[1:-1], ",")
        if len(inner) > 1 and text[0] == "(" and text.count(r"\pm") == 1:
            return Shape("set", _both_signs((text,)))
        if len(inner) > 1:
            return Shape(f"{text[0]},{text[-1]}", inner)
    if text.count(r"\pm") == 1:
        return Shape("set", _both_signs((text,)))
    return Shape("scalar", (text,))


def equal_shapes(gold: str, answer: str, equal_scalars: Callable[[str, str], bool]) -> bool:
    """Have two answers the same shape and parts? `equal_scalars(gold, answer)` judges scalars."""
    gold_shape, shape = take_apart(gold), take_apart(answer)
    if "scalar" in (gold_shape.kind, shape.kind):
        return gold_shape.kind == shape.kind and equal_scalars(gold, answer)
    if _is_column(gold_shape.kind) or _is_column(shape.kind):
        gold_shape, shape = _as_vector(gold_shape), _as_vector(shape)
    if gold_shape.kind != shape.kind or len(gold_shape.parts) > _MAX_ELEMENTS:
        return False
    if len(gold_shape.parts) != len(shape.parts):
        return False
    if gold_shape.kind in ("set", "union"):
        return _equal_unordered(gold_shape.parts, shape.parts, equal_scalars)
    pairs = zip(gold_shape.parts, shape.parts, strict=True)
    return all(equal_shapes(gold_part, part, equal_scalars) for gold_part, part in pairs)


def split_top_level(text: str, separator: str) -> tuple[str, ...]:
    """Split where no bracket or brace is open; one part where there is nothing to split."""
    depth, start, parts = 0, 0, []
    for position, mark in enumerate(text):
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif depth == 0 and mark == separator[0] and text.startswith(separator, position):
            parts.append(text[start:position].strip())
            start = position + len(separator)
    return (*parts, text[start:].strip())


def _both_signs(items: tuple[str, ...]) -> tuple[str, ...]:
    r"""`\pm 1, 3` as 1, -1, 3."""
    return tuple(
        item.replace(r"\pm", sign)
        for item in items
        for sign in ("+", "-")[: 2 if item.count(r"\pm") == 1 else 1]
    )


def _equal_unordered(
    gold_parts: tuple[str, ...], parts: tuple[str, ...], equal_scalars: Callable[[str, str], bool]
) -> bool:
    left = list(parts)
    for gold_part in gold_parts:
        found = next((p for p in left if equal_shapes(gold_part, p, equal_scalars)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _matrix(body: str) -> Shape:
    rows = [row.split("&") for row in re.split(r"\\\\(?:\[[^\]]*\])?", body) if row.strip()]
    if len({len(row) for row in rows}) != 1:
        return Shape("scalar", (body,))
    kind = f"matrix {len(rows)}x{len(rows[0])}"
    return Shape(kind, tuple(cell.strip() for row in rows for cell in row))


def _is_column(kind: str) -> bool:
    return kind.startswith("matrix") and kind.endswith("x1")


def _as_vector(shape: Shape) -> Shape:
    r"""A column and a tuple are one vector; (1, 2) is also a column of 1 and 2."""
    return Shape("(,)", shape.parts) if _is_column(shape.kind) else shape


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, mark in enumerate(text):
        depth += (mark in "([") - (mark in ")]")
        if depth == 0:
            return position == len(text) - 1
    return False
