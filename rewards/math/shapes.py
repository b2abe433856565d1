r"""Outer shapes of answers: lists, tuples, sets, intervals, unions and matrices of scalars.

Shapes are compared here, so that the parser gets one scalar at a time and its rules for sets,
intervals and several answers never apply:

    | written              | kind        | compared                                  |
    |----------------------|-------------|-------------------------------------------|
    | 3, -3    \{3, -3\}   | set         | in any order                              |
    | a \pm b              | set         | as a + b and a - b                        |
    | (1, 2)               | `(,)`       | in order; also the open interval          |
    | [1, 2)               | `[,)`       | in order, with the same brackets          |
    | A \cup B             | union       | in any order                              |
    | \begin{pmatrix} ...  | matrix      | shape and entries; brackets do not count  |
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Shape", "equal_shapes", "parse_shape", "split_top_level"]

_MATRIX = re.compile(r"\\begin\{([pbB]?)matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)
_MAX_ELEMENTS = 200


class Shape(NamedTuple):
    """A shape and its parts; the only part of a scalar is its text."""

    kind: str  # "scalar", "set", "union", "matrix RxC", or the brackets of a tuple or an interval
    parts: tuple[str, ...]


def parse_shape(text: str) -> Shape:
    """Return the outermost shape of a normalized answer."""
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
    if len(ratio) > 2:  # 1:2:3 is 1:2 and 2:3
        pairs = tuple(f"{left}:{right}" for left, right in itertools.pairwise(ratio))
        return Shape(f"ratio of {len(ratio)}", pairs)
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return Shape("set", _both_signs(split_top_level(text[2:-2], ",")))
    is_bracketed = (
        text.startswith(("(", "[")) and text.endswith((")", "]")) and _closes_at_end(text)
    )
    inner = split_top_level(text[1:-1], ",") if is_bracketed else ()
    has_sign = text.count(r"\pm") == 1
    if len(inner) > 1 and not (text[0] == "(" and has_sign):
        return Shape(f"{text[0]},{text[-1]}", inner)
    return Shape("set", _both_signs((text,))) if has_sign else Shape("scalar", (text,))


def equal_shapes(gold: str, answer: str, equal_scalars: Callable[[str, str], bool]) -> bool:
    """Compare shapes and their parts; `equal_scalars(gold, answer)` compares two scalars."""
    gold_shape, shape = parse_shape(gold), parse_shape(answer)
    if "scalar" in (gold_shape.kind, shape.kind):
        return gold_shape.kind == shape.kind and equal_scalars(gold, answer)
    if _is_column(gold_shape.kind) or _is_column(shape.kind):
        gold_shape, shape = _as_vector(gold_shape), _as_vector(shape)
    gold_parts, parts = gold_shape.parts, shape.parts
    if gold_shape.kind != shape.kind or len(gold_parts) != len(parts):
        return False
    if len(gold_parts) > _MAX_ELEMENTS:
        return False
    if gold_shape.kind not in ("set", "union"):
        pairs = zip(gold_parts, parts, strict=True)
        return all(equal_shapes(gold_part, part, equal_scalars) for gold_part, part in pairs)
    unmatched = list(parts)
    for gold_part in gold_parts:
        found = next((p for p in unmatched if equal_shapes(gold_part, p, equal_scalars)), None)
        if found is None:
            return False
        unmatched.remove(found)
    return True


def split_top_level(text: str, separator: str) -> tuple[str, ...]:
    """Split at separators outside of all brackets and braces."""
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
    r"""Expand `\pm 1, 3` to 1, -1, 3."""
    return tuple(
        item.replace(r"\pm", sign)
        for item in items
        for sign in ("+", "-")[: 2 if item.count(r"\pm") == 1 else 1]
    )


def _matrix(body: str) -> Shape:
    rows = [row.split("&") for row in re.split(r"\\\\(?:\[[^\]]*\])?", body) if row.strip()]
    if len({len(row) for row in rows}) != 1:
        return Shape("scalar", (body,))
    kind = f"matrix {len(rows)}x{len(rows[0])}"
    return Shape(kind, tuple(cell.strip() for row in rows for cell in row))


def _is_column(kind: str) -> bool:
    return kind.startswith("matrix") and kind.endswith("x1")


def _as_vector(shape: Shape) -> Shape:
    r"""Turn a column into a tuple: both write one vector."""
    return Shape("(,)", shape.parts) if _is_column(shape.kind) else shape


def _closes_at_end(text: str) -> bool:
    depths = list(itertools.accumulate((mark in "([") - (mark in ")]") for mark in text))
    return 0 in depths and depths.index(0) == len(text) - 1
