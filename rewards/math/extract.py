# ruff: noqa: RUF001 - full-width and Chinese punctuation is intended
r"""Extract the answer that a completion states: a linear scan without backtracking.

    completion --after the reasoning--> answer part --in <answer>--> last \boxed{}, or plain text

- Only text after the last `</think>` is read; an unclosed `<think>` leaves no answer.
- In that text, only the last `<answer>...</answer>` if there is one.
- In that part, the last balanced `\boxed{}`. Boxes joined by a comma, "and" or "or" are one answer,
  so that `\boxed{41} or \boxed{42}` is a hedge. An empty last box is a wrong answer.
- Without a box, the plain text of `<answer>`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rewards.base import Grade, Outcome
from rewards.transcript import Turn, after_thought

__all__ = ["StatedAnswer", "answer_part", "last_boxed", "read_answer"]

_OPEN_ANSWER = "<answer>"
_CLOSE_ANSWER = "</answer>"

# Bounded repetition only: a run of 100,000 backslashes stays linear.
_BOX_TOKEN = re.compile(r"\\{1,3}(?:boxed|fbox)\s{0,8}(?P<box>\{)|\\.|[{}]", re.DOTALL)
_INNER_BOX = re.compile(r"\s*\\{1,3}(?:boxed|fbox)\s{0,8}\{")
_JOINT = re.compile(
    r"""(?:[\s$,;，、；()\[\]\\.]|\\(?:text|mathrm|mbox|quad|qquad)|[{}]|and|or|或者?|和|与|以及)*""",
    re.IGNORECASE,
)
_JOINT_WORD = re.compile(r",|;|，|、|；|and|or|或|和|与|以及", re.IGNORECASE)
_MAX_JOINT_CHARS = 32


class StatedAnswer(NamedTuple):
    """The answer that a completion states."""

    text: str  # not empty
    is_plain: bool  # plain text of <answer>, not the content of a box


def read_answer(turn: Turn, think_prefilled: bool = False) -> StatedAnswer | Grade:
    """Return the answer that a completion states, or the grade for stating none."""
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    text, is_tagged = part
    boxed = last_boxed(text)
    if boxed is None and not is_tagged:
        return Grade.of(Outcome.NO_ANSWER, r"neither \boxed{} nor <answer> after the reasoning")
    stated = text.strip() if boxed is None else boxed
    if stated:
        return StatedAnswer(stated, boxed is None)
    if boxed is None:
        return Grade.of(Outcome.NO_ANSWER, "the answer is empty")
    return Grade.of(Outcome.WRONG, "the last box is empty")


def answer_part(turn: Turn, think_prefilled: bool = False) -> tuple[str, bool] | Grade:
    """Return (content of the last `<answer>`, True) or (all text after the reasoning, False)."""
    part = after_thought(turn, think_prefilled)
    if part is None:
        return Grade.of(Outcome.TRUNCATED, "the reasoning was opened and never closed")
    end = part.rfind(_CLOSE_ANSWER)
    start = part.rfind(_OPEN_ANSWER, 0, end) if end >= 0 else -1
    return (part[start + len(_OPEN_ANSWER) : end], True) if start >= 0 else (part, False)


def last_boxed(text: str) -> str | None:
    r"""Return the stripped content of the last balanced `\boxed{}` or `\fbox{}`, or None.

    Earlier boxes joined to it by a comma, "and" or "or" are included in order: "41, 42".
    """
    if "boxed" not in text and "fbox" not in text:
        return None
    boxes = _outermost_boxes(text)
    if not boxes:
        return None
    contents = [_unwrap(text[boxes[-1].start : boxes[-1].end])]
    if not contents[0]:
        return ""
    for before, after in zip(reversed(boxes[:-1]), reversed(boxes[1:]), strict=True):
        gap = text[before.end + 1 : after.opening]
        if len(gap) > _MAX_JOINT_CHARS or not (_JOINT.fullmatch(gap) and _JOINT_WORD.search(gap)):
            break
        contents.append(_unwrap(text[before.start : before.end]))
    return ", ".join(dict.fromkeys(reversed(contents)))


class _Box(NamedTuple):
    opening: int  # position of the backslash
    start: int  # of the content
    end: int  # of the content: position of the closing brace


def _outermost_boxes(text: str) -> list[_Box]:
    """Return the balanced boxes outside of any other balanced box, left to right."""
    stack: list[tuple[int, int] | None] = []  # for each open brace: the box it opens, or None
    boxes: list[_Box] = []
    for token in _BOX_TOKEN.finditer(text):
        if token.group("box"):
            stack.append((token.start(), token.end()))
        elif token.group() == "{":
            stack.append(None)
        elif token.group() == "}" and stack:
            opened = stack.pop()
            if opened is None:
                continue
            while boxes and boxes[-1].opening > opened[0]:
                boxes.pop()
            boxes.append(_Box(opened[0], opened[1], token.start()))
    return boxes


def _unwrap(content: str) -> str:
    r"""Remove nested boxes: the content of `\boxed{\boxed{42}}` is 42."""
    content = content.strip()
    for _ in range(4):
        if not _INNER_BOX.match(content):
            return content
        inner = _outermost_boxes(content)
        if len(inner) != 1 or inner[0].end != len(content) - 1:
            return content
        content = content[inner[0].start : inner[0].end].strip()
    return content
