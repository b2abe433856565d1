# ruff: noqa: RUF001 - Chinese punctuation is meant
"""True-sounding sentences with numbers that have nothing to do with the question.

A model that reasons leaves them aside; the gold answer stays what it was. They go between the
sentences of the question and never behind its last, which asks. Drawn by seed and the row's id, so
that the same rows are disturbed in the same way each time.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from typing import Any

from rlvr.data.cleaning.row_text import language_of

__all__ = ["with_distractors"]

SENTENCES = {
    "en": (
        "The town library has {n} windows.",
        "A neighbour's dog is {n} years old.",
        "Last week it rained for {n} hours.",
        "The bus to the market carries {n} people.",
        "A report says that {n} of 100 people prefer tea.",
    ),
    "zh": (
        "镇上的图书馆有{n}扇窗户。",
        "邻居家的狗今年{n}岁。",
        "上周一共下了{n}个小时的雨。",
        "去集市的公交车上坐了{n}个人。",
        "有报告说每100人中有{n}人更喜欢喝茶。",
    ),
}
LARGEST = 60

# behind the mark that ends a sentence; a point within a number ends none
_BOUNDARY = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+(?=\S)")


def with_distractors(
    row: Mapping[str, Any], *, id: str, seed: int, count: int = 1
) -> dict[str, Any]:
    """The row with `count` distractors in its context or prompt, and marked `has_distractor`.

    `distractors` lists them. A row without a text to put them in stays as it is, unmarked.
    """
    column = "context" if isinstance(row.get("context"), str) else "prompt"
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        return {**row, "has_distractor": False}
    draw = random.Random(hashlib.sha256(f"{seed}:{id}".encode()).digest())
    language = "zh" if language_of(row).startswith("zh") else "en"
    chosen = draw.sample(SENTENCES[language], min(count, len(SENTENCES[language])))
    drawn = [sentence.format(n=draw.randint(2, LARGEST)) for sentence in chosen]
    gap = "" if language == "zh" else " "
    disturbed = _inserted(text, drawn, draw, gap=gap)
    return {**row, column: disturbed, "has_distractor": True, "distractors": drawn}


def _inserted(text: str, drawn: list[str], draw: random.Random, *, gap: str) -> str:
    said = [sentence for sentence in _BOUNDARY.split(text) if sentence]
    for sentence in drawn:
        said.insert(draw.randrange(len(said)), sentence)  # before the last at the latest
    return gap.join(said)
