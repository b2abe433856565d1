r"""Whole answers in words that mean one thing in mathematics, in English and Chinese.

    no solution, 无解, the empty set, \{\}   \emptyset
    all real numbers, 全体实数, \mathbb{R}   (-\infty,\infty)
    yes, 是; no, 不能; Wednesday, 周三       one word each

`meaning` says what such a text means; it is compared with what the gold means, so that "no" and
"no solution" are two things and "no real solution", which claims less, is a third.
"""

from __future__ import annotations

import re

from rewards.math.statements import text_key

__all__ = ["can_stand_for", "meaning"]

EMPTY_SET = r"\emptyset"
ALL_REALS = r"(-\infty,\infty)"

_MEANINGS = {
    EMPTY_SET: r"no solution|no solutions|there is no solution|there are no solutions|empty set|"
    r"empty|null set|has no solution|\emptyset|无解|方程无解|不等式无解|方程组无解|没有解|"
    "空集|解集为空集",
    r"\text{no real solution}": "no real solution|no real solutions|there is no real solution|"
    "there are no real solutions|no real roots|no real root|no real number|no real numbers|"
    "无实数解|无实数根|没有实数根|没有实数解|无实根|无实解",
    ALL_REALS: "all real numbers|all reals|all real|every real number|any real number|"
    "the set of all real numbers|set of all real numbers|set of real numbers|real numbers|"
    "x is any real number|x can be any real number|all real values|all real values of x|"
    "all real numbers x|全体实数|实数集|一切实数|所有实数|任意实数|实数|实数集r",
    r"\text{infinitely many}": "infinitely many|infinitely many solutions|infinite solutions|"
    "infinite|an infinite number|infinite number|infinite number of solutions|infinitely|"
    "an infinite number of solutions|there are infinitely many|infinitely many values|"
    "there are infinitely many solutions|无穷多|无穷多个|无数个|无数|无限多|无限多个|有无穷多个|"
    "有无数个|无穷多解|有无穷多解|无数解|有无数解|无数组|无穷多组|无数多个",
    r"\infty": "infinity|positive infinity|plus infinity|+infinity|正无穷|无穷大|正无穷大|无穷",
    r"-\infty": "negative infinity|minus infinity|-infinity|负无穷|负无穷大",
    r"\text{does not exist}": "dne|does not exist|limit does not exist|doesn't exist|"
    "不存在|极限不存在",
    r"\text{yes}": "yes|是|是的|能|可以|会|true|对|正确|对的|真|真命题|√|it is true|成立",
    r"\text{no}": "no|否|不是|不能|不可以|不会|false|错|错误|不对|不正确|错的|假|"
    "假命题|it is false|不成立",
    r"\text{even}": "even|偶数",
    r"\text{odd}": "odd|奇数",
} | {
    rf"\text{{{names.partition('|')[0]}}}": names
    for names in (
        "monday|mon|星期一|周一|礼拜一", "tuesday|tue|tues|星期二|周二|礼拜二",
        "wednesday|wed|星期三|周三|礼拜三", "thursday|thu|thur|thurs|星期四|周四|礼拜四",
        "friday|fri|星期五|周五|礼拜五", "saturday|sat|星期六|周六|礼拜六",
        "sunday|sun|星期日|星期天|周日|周天|礼拜日|礼拜天",
    )
}  # fmt: skip
_MEANING_BY_TEXT = {
    text: meaning for meaning, texts in _MEANINGS.items() for text in texts.split("|")
}
_STANDS_FOR = {
    EMPTY_SET: ("none", r"\phi", r"\Phi"),
    ALL_REALS: ("R", r"\Re", r"\mathbf R", r"\mathbf{R}", r"\mathrm{R}", r"\text{R}"),
}
_MAX_CHARS = 60
_ENDING = re.compile(r"[\s.。!]+$")


def meaning(text: str) -> str | None:
    """What a whole tidy answer means, where it is one of these phrases."""
    if len(text) > _MAX_CHARS or text[:1].isdigit():
        return None
    return _MEANING_BY_TEXT.get(_ENDING.sub("", text_key(text)))


def can_stand_for(gold: str, text: str) -> bool:
    r"""What says the gold only where that is the gold: "none" or \phi for no solution, R for reals.

    Elsewhere they are a word, a letter or the golden ratio.
    """
    words = _STANDS_FOR.get(gold, ())
    return text in words or text_key(text) in words
