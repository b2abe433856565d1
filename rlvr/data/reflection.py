"""Count words of reflection in reasoning: "wait", "check", ...

DeepSeek-R1 plots their number over the training of R1-Zero (arXiv 2501.12948v2, appendix C.2).
"""

from __future__ import annotations

import re

__all__ = ["num_reflection_words"]

WORDS = (
    "wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check",
)  # fmt: skip
# our own: the paper's list is English
CHINESE_WORDS = (
    "等等", "等一下", "不对", "错误", "错了", "但是", "然而", "验证", "检查", "重新",
)  # fmt: skip

_WORD = re.compile(rf"\b(?:{'|'.join(WORDS)})\b|{'|'.join(CHINESE_WORDS)}", re.IGNORECASE)


def num_reflection_words(text: str) -> int:
    """Return the number of reflection words in a text; parts of longer words do not count."""
    return len(_WORD.findall(text))
