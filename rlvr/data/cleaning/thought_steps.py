# ruff: noqa: RUF001, RUF002 - Chinese punctuation is meant
"""A thought in its steps: by marks that say step, else numbers, else bullets, else paragraphs.

    "Step 1: add. Step 2: halve."   "步骤一：...步骤二：..."   "第一步，..."
    "1. add\\n2. halve"              "（1）...\\n（2）..."        "一、...\\n二、..."
    "- add\\n- halve"                "add\\n\\nhalve"

Two marks of a kind make a list; what stands before the first of them introduces it. Marks of a
lower kind within a step are part of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["numbered", "split_steps"]

_NUMBER = r"[\d一二三四五六七八九十]{1,3}"
_KINDS = (
    re.compile(
        rf"\bStep\s?\d{{1,3}}\s?[:.)]|步骤\s?{_NUMBER}\s?[:：.、，,]?|第{_NUMBER}步\s?[:：，,、]?"
    ),
    re.compile(
        r"^[ \t]{0,8}(?:\d{1,3}[.)、．](?!\d)|[（(]\d{1,3}[)）]|[一二三四五六七八九十]{1,3}、)",
        re.MULTILINE,
    ),
    re.compile(r"^[ \t]{0,8}[-*•](?![-*])[ \t]", re.MULTILINE),
)
_PARAGRAPH = re.compile(r"\n\s*\n")
_MIN_MARKS = 2


def split_steps(text: str) -> list[str]:
    """The steps without their marks; empty ones are none."""
    for mark in _KINDS:
        pieces = mark.split(text)
        if len(pieces) > _MIN_MARKS:
            return _said(pieces[1:])
    return _said(_PARAGRAPH.split(text))


def numbered(steps: Sequence[str]) -> str:
    """`numbered(["add", "halve"]) == "1. add\\n2. halve"`."""
    return "\n".join(f"{number}. {step.strip()}" for number, step in enumerate(steps, start=1))


def _said(pieces: Sequence[str]) -> list[str]:
    return [piece.strip() for piece in pieces if piece.strip()]
