"""How the toy world asks: bare arithmetic or a short story, in English or Chinese."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["LANGUAGES", "ask"]

LANGUAGES = ("en", "zh")

_BARE = {
    "en": ("What is {expression}?", "Compute {expression}.", "{expression} = ?"),
    "zh": ("{expression}等于多少?", "计算{expression}。", "求{expression}的值。"),
}
_NAMES = {"en": ("Tom", "Ann", "Ben", "Lily"), "zh": ("小明", "小红", "小刚", "小丽")}
_THINGS = {"en": ("pens", "eggs", "cards", "coins"), "zh": ("支笔", "个蛋", "张卡", "枚币")}
_ONE_HEAD = {"en": "{name} has {start} {thing}", "zh": "{name}有{start}{thing}"}
_TWO_HEAD = {
    "en": "{name} has {left} boxes of {right} {thing}",
    "zh": "{name}有{left}盒,每盒{right}{thing}",
}
_GAINS = {"en": ("gets {n}", "finds {n}", "buys {n}"), "zh": ("得到{n}", "找到{n}", "买来{n}")}
_LOSSES = {"en": ("loses {n}", "sells {n}", "drops {n}"), "zh": ("丢了{n}", "卖掉{n}", "送出{n}")}
_COMMA = {"en": ", ", "zh": ","}
_QUESTION = {"en": ". How many now?", "zh": "。现在有多少?"}


def ask(head: Sequence[int], terms: Sequence[int], *, language: str, rng: random.Random) -> str:
    """A prompt for head (a start, or two factors) and signed terms; `rng` picks the wording."""
    if rng.random() < 0.5:
        expression = "*".join(map(str, head)) + "".join(f"{term:+d}" for term in terms)
        return rng.choice(_BARE[language]).format(expression=expression)
    return _story(head, terms, language=language, rng=rng)


def _story(head: Sequence[int], terms: Sequence[int], *, language: str, rng: random.Random) -> str:
    who = {"name": rng.choice(_NAMES[language]), "thing": rng.choice(_THINGS[language])}
    if len(head) == 2:
        opening = _TWO_HEAD[language].format(left=head[0], right=head[1], **who)
    else:
        opening = _ONE_HEAD[language].format(start=head[0], **who)
    moves = [
        rng.choice((_GAINS if term > 0 else _LOSSES)[language]).format(n=abs(term))
        for term in terms
    ]
    return _COMMA[language].join([opening, *moves]) + _QUESTION[language]
