r"""Check the arithmetic steps of a text, `a op b = c`, by exact evaluation.

"2*3+5 = 6+5 = 12"   two steps, the second is wrong
"x = 5", "5 km = 5000 m", "10/3 \approx 3.3"   no step: not an equation of plain numbers
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

__all__ = ["StepCounts", "check_steps"]

_SIGNS = {
    r"\times": "*", r"\cdot": "*", r"\div": "/", "×": "*", "·": "*", "÷": "/", "−": "-",  # noqa: RUF001
    r"\left": "", r"\right": "", r"\,": "", "\uff08": "(", "\uff09": ")", "＝": "=",  # noqa: RUF001
}  # fmt: skip
_FRACTION = re.compile(r"\\[dt]?frac\{(\d{1,40})\}\{(\d{1,40})\}")
_SIDE = (
    r"[-+(\s]{0,8}\d{1,40}(?:\.\d{1,40})?[\s)]{0,8}"
    r"(?:[-+*/][-+(\s]{0,8}\d{1,40}(?:\.\d{1,40})?[\s)]{0,8}){0,40}"
)
_CHAIN = re.compile(rf"(?<![A-Za-z0-9_.)]){_SIDE}(?:={_SIDE})+(?![A-Za-z0-9_*/^%]|\.\d)")
_VALUE_END = re.compile(r"[A-Za-z0-9)}]$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d+(?![\d.]))")  # not valid in Python: 007
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class StepCounts(NamedTuple):
    """Numbers of right steps and of all steps."""

    num_right: int
    num_steps: int

    @property
    def right_frac(self) -> float | None:
        """Share of right steps; None without a step."""
        return self.num_right / self.num_steps if self.num_steps else None


def check_steps(text: str) -> StepCounts:
    """Count the steps: each "=" between two values with an operator on its left is one."""
    verdicts = []
    for chain in _chains(text):
        for left, right in pairwise(chain):
            values = _value(left), _value(right)
            if None not in values and len(_NUMBER.findall(left)) > 1:
                verdicts.append(values[0] == values[1])
    return StepCounts(sum(verdicts), len(verdicts))


def _chains(text: str) -> Iterator[list[str]]:
    """Yield the sides of each chain of equations, `a = b = c`."""
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    text = _THOUSANDS.sub("", _FRACTION.sub(r"(\1/\2)", text))
    for line in text.splitlines():
        for found in _CHAIN.finditer(line):
            if not _is_continuation(line[: found.start()].rstrip(), found[0].lstrip()):
                yield found[0].split("=")


def _is_continuation(before: str, chain: str) -> bool:
    """Whether the chain is part of a longer expression: `5 + 2 = 9` in "x + 5 + 2 = 9"."""
    if before.endswith(("+", "-", "*", "/", "^", "=")):
        return True
    return chain[0] in "+-" and _VALUE_END.search(before) is not None


def _value(side: str) -> Fraction | None:
    """Evaluate one side; None if it is not valid arithmetic, such as unbalanced brackets or x/0."""
    numbers = _LEADING_ZEROS.sub("", side.strip())
    try:
        return _evaluated(ast.parse(numbers, mode="eval").body, side=numbers)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluated(node: ast.expr, *, side: str) -> Fraction:
    match node:
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_evaluated(left, side=side), _evaluated(right, side=side))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand, side=side)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _evaluated(operand, side=side)
        case ast.Constant():
            return Fraction(ast.get_source_segment(side, node) or "")
        case _:
            raise ValueError("not arithmetic")
