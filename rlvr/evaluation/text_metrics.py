"""Metrics of one text that need no reward: language, readability, key points, arithmetic.

Repetition, mixed languages and poor readability are the weaknesses of DeepSeek-R1-Zero that its
paper reports (arXiv 2501.12948, section 2.2.4).
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from rewards import Outcome
from rewards.math.plain_numbers import plain_number
from rewards.shaping.language import LANGUAGES, grade_language
from rlvr.data.cleaning import filters
from rlvr.data.reasoning_tags import Parts

__all__ = [
    "bullet_frac",
    "check_steps",
    "key_point_coverage",
    "language_mixing",
    "num_paragraphs",
    "readability_flags",
]

_BULLET = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)、])\s*\S")
_BLANK_LINE = re.compile(r"\n\s*\n")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")

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
_OPERAND = re.compile(r"\d+(?:\.\d+)?")
_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d+(?![\d.]))")  # not valid in Python: 007
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def language_mixing(text: str, language: str) -> float | None:
    """Return the share of words not in `language`: 1 - R_language (equation 7 of the paper).

    None: the text has no word, or rewards.shaping.language does not know the language.
    """
    if language not in LANGUAGES:
        return None
    grade = grade_language({"content": "", "reasoning_content": text or " "}, language)
    has_no_word = grade.outcome is Outcome.NO_ANSWER
    return None if has_no_word else 1.0 - (grade.value or 0.0)


def readability_flags(parts: Parts, *, language: str) -> dict[str, bool]:
    """Return which problems make a completion hard to read; see rlvr.data.cleaning.filters."""
    thought = parts.thought or ""
    both = f"{thought}\n\n{parts.answer}"
    known = language in LANGUAGES
    return {
        "mixed_language": known and filters.mixed_language(both, language) is not None,
        "repeated": filters.repeated(both) is not None,
        "long_paragraph": filters.long_paragraph(both) is not None,
        "code_in_thought": filters.code_in_thought(thought) is not None,
        "unfinished_thought": parts.thought is not None and not parts.answer,
        "empty_answer": parts.thought is None and not parts.answer,
    }


def bullet_frac(answer: str) -> float:
    """Return the share of non-blank lines that are list items."""
    lines = [line for line in answer.splitlines() if line.strip()]
    return sum(_BULLET.match(line) is not None for line in lines) / len(lines) if lines else 0.0


def num_paragraphs(answer: str) -> int:
    """Return the number of blocks between blank lines."""
    return sum(bool(block.strip()) for block in _BLANK_LINE.split(answer))


def key_point_coverage(text: str, points: Sequence[object]) -> float | None:
    """Return the share of a task's `key_points` that a text has; None without points.

    A point is text (compared without case and white space), "re:PATTERN", or a number, which
    matches in any spelling of its value.

    Raises:
        ValueError: a pattern is not a valid regular expression.
    """
    return sum(_has_point(str(point), text) for point in points) / len(points) if points else None


def _has_point(point: str, text: str) -> bool:
    if point.startswith("re:"):
        try:
            return re.search(point.removeprefix("re:"), text, re.IGNORECASE) is not None
        except re.error as error:
            raise ValueError(f"key point {point!r}: {error}") from None
    value = plain_number(point)
    if value is None:
        return "".join(point.casefold().split()) in "".join(text.casefold().split())
    return any(plain_number(number.rstrip(",")) == value for number in _NUMBER.findall(text))


def check_steps(text: str) -> list[bool]:
    r"""Return whether each arithmetic step of a text, `a op b = c`, is right, by exact evaluation.

    "2*3+5 = 6+5 = 12": two steps, the second is wrong. "x = 5", "5 km = 5000 m" and
    "10/3 \approx 3.3" are no steps, because they are not equations of plain numbers.
    """
    verdicts = []
    for sides in _equations(text):
        for left, right in pairwise(sides):
            values = _value(left), _value(right)
            if None not in values and len(_OPERAND.findall(left)) > 1:
                verdicts.append(values[0] == values[1])
    return verdicts


def _equations(text: str) -> Iterator[list[str]]:
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
