# ruff: noqa: RUF001, RUF002 - Chinese punctuation is meant
"""Split reasoning into steps: by step markers, else numbers, else bullets, else paragraphs.

    "Step 1: add. Step 2: halve."   "步骤一：...步骤二：..."   "第一步，..."
    "1. add\\n2. halve"              "（1）...\\n（2）..."        "一、...\\n二、..."
    "- add\\n- halve"                "add\\n\\nhalve"

Two markers of one kind make a list; the text before the first is dropped. Markers of a lower kind
within a step are part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.data.samples import reasoning_of

__all__ = ["numbered", "split_steps", "steps_of"]

_NUMBER = r"[\d一二三四五六七八九十]{1,3}"
_MARKERS = (
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


def steps_of(sample: Mapping[str, Any]) -> list[str]:
    """Return the `steps` of a sample, by default those of its reasoning."""
    steps = sample.get("steps")
    if isinstance(steps, list):
        return [str(step) for step in steps]
    return split_steps(reasoning_of(sample))


def split_steps(text: str) -> list[str]:
    """Return the non-empty steps without their markers."""
    splits = (marker.split(text) for marker in _MARKERS)
    steps = next((pieces[1:] for pieces in splits if len(pieces) > 2), _PARAGRAPH.split(text))
    return [step.strip() for step in steps if step.strip()]


def numbered(steps: Sequence[str]) -> str:
    """`numbered(["add", "halve"]) == "1. add\\n2. halve"`."""
    return "\n".join(f"{number}. {step.strip()}" for number, step in enumerate(steps, start=1))
