"""`countdown`: 1 for an expression that uses each number exactly once and equals the target.

    completion --read_answer--> "(1 + 2) / 3 = 1" --AST, Fractions--> value and the numbers in it

Python evaluates nothing: the text may contain only digits, + - * / and parentheses, and its syntax
tree is computed with exact fractions. A sign before a number ("-3 + 5"), "//", "**", decimals and
leading zeros are not allowed. The rules are TinyZero's without its loopholes (Jiayi-Pan/TinyZero,
verl/utils/reward_score/countdown.py).
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any

from rewards.base import Grade, Outcome, reward
from rewards.math.extract import read_answer
from rewards.transcript import as_turn, resolve_think_prefilled

__all__ = ["MAX_CHARS", "MAX_DEPTH", "countdown", "evaluate_expression", "grade_countdown"]

MAX_CHARS = 500  # of an expression; 20 numbers of three digits need about 200
MAX_DEPTH = 40  # of nested parentheses; the parser's own limit is 200
MAX_DIGITS = 12  # of a number

_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ALLOWED = re.compile(r"[0-9+\-*/() ]*")
_SPACES = re.compile(r"\s+")
_SPELLINGS = {
    r"\times": "*", r"\cdot": "*", r"\div": "/", r"\left": "", r"\right": "", "$": "",
    "\N{MULTIPLICATION SIGN}": "*", "\N{MIDDLE DOT}": "*", "\N{DOT OPERATOR}": "*",
    "\N{DIVISION SIGN}": "/", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-",
    "\N{FULLWIDTH LEFT PARENTHESIS}": "(", "\N{FULLWIDTH RIGHT PARENTHESIS}": ")",
}  # fmt: skip
_SPELLING = re.compile("|".join(re.escape(spelling) for spelling in _SPELLINGS))


@reward(columns=("numbers", "target"))
def countdown(
    completions: Sequence[Any],
    numbers: Sequence[Sequence[int]],
    target: Sequence[int],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward 1 for an expression in `numbers` that equals `target`, else 0.

    None where `numbers` or `target` of a row are not integers.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    rows = zip(completions, numbers, target, flags, strict=True)
    return [
        grade_countdown(completion, numbers=given, target=goal, think_prefilled=prefilled)
        for completion, given, goal, prefilled in rows
    ]


def grade_countdown(
    completion: Any, *, numbers: Sequence[int], target: int, think_prefilled: bool = False
) -> Grade:
    """Return the grade of one completion by `countdown`; the answer is read as by `accuracy`."""
    given = _integers(numbers)
    goal = _integers([target])
    if not given or not goal:
        reason = f"numbers {numbers!r} or target {target!r} are not integers"
        return Grade.of(Outcome.UNGRADABLE_GOLD, reason)
    answer = read_answer(as_turn(completion), think_prefilled)
    if isinstance(answer, Grade):
        return answer
    fault = _fault(answer.text, numbers=given, target=goal[0])
    return Grade.of(Outcome.WRONG if fault else Outcome.CORRECT, fault)


def evaluate_expression(text: str) -> tuple[Fraction, list[int]]:
    """Return the exact value of an expression and its numbers: "(1 + 2) / 3" -> 1, [1, 2, 3].

    Raises:
        ValueError: anything but + - * / and parentheses over integers, a division by zero, or a
            text over the limits.
    """
    _check_limits(text)
    numbers: list[int] = []
    try:
        return _walk(ast.parse(text.strip(), mode="eval").body, numbers), numbers
    except SyntaxError as error:
        raise ValueError(f"not an arithmetic expression: {error.msg}") from error
    except ZeroDivisionError as error:
        raise ValueError("divides by zero") from error


def _fault(text: str, *, numbers: list[int], target: int) -> str:
    """Return why an answer is wrong; empty where it is right."""
    expression, equals, stated = (part.strip() for part in _plain(text).partition("="))
    if expression == str(target) and equals:
        expression, stated = stated, expression
    if equals and stated != str(target):
        return f"states {stated!r:.60}, not {target}"
    try:
        value, used = evaluate_expression(expression)
    except ValueError as error:
        return str(error)
    if sorted(used) != sorted(numbers):
        return f"uses {sorted(used)}, not {sorted(numbers)} each once"
    return "" if value == target else f"equals {value}, not {target}"


def _plain(text: str) -> str:
    if len(text) > 2 * MAX_CHARS:  # over the limits in any spelling
        return text
    plain = _SPELLING.sub(lambda match: _SPELLINGS[match[0]], text)
    return _SPACES.sub(" ", plain).strip(" .")


def _check_limits(text: str) -> None:
    if len(text) > MAX_CHARS:
        raise ValueError(f"longer than {MAX_CHARS} characters")
    if not _ALLOWED.fullmatch(text):
        raise ValueError(f"{text!r:.60} contains more than integers, + - * / and parentheses")
    depths = accumulate((mark == "(") - (mark == ")") for mark in text)
    if max(depths, default=0) > MAX_DEPTH:
        raise ValueError(f"parentheses are nested deeper than {MAX_DEPTH}")
    if re.search(rf"\d{{{MAX_DIGITS + 1}}}", text):
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")


def _walk(node: ast.expr, numbers: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        numbers.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left = _walk(node.left, numbers)
        right = _walk(node.right, numbers)
        return _OPERATIONS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        raise ValueError("a sign before a number is not allowed")
    raise ValueError("only + - * / and parentheses over integers are allowed")


def _integers(values: Sequence[Any]) -> list[int]:
    """Return the values as int, also numpy's; empty where one of them is not an integer."""
    try:
        has_bool = any(isinstance(value, bool) for value in values)
        return [] if has_bool else list(map(operator.index, values))
    except TypeError:
        return []
