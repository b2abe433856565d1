"""Words with which a thought turns on itself: "wait", "check", ...

DeepSeek-R1 follows their number over the steps of R1-Zero (arXiv 2501.12948, version 2,
appendix C.2).
"""

from __future__ import annotations

import re

__all__ = ["PHRASES", "WORDS", "num_reflection_words"]

WORDS = (
    "wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check",
)  # fmt: skip
# ours, for Chinese thoughts: the paper's list is English
PHRASES = (
    "等等", "等一下", "不对", "错误", "错了", "但是", "然而", "验证", "检查", "重新",
)  # fmt: skip

_WORD = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
_PHRASE = re.compile("|".join(PHRASES))


def num_reflection_words(text: str) -> int:
    """How many of them are in the text; not as a part of another word."""
    return len(_WORD.findall(text)) + len(_PHRASE.findall(text))
