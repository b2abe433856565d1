r"""Answers in words: text answers ("Friday"), phrases with a mathematical meaning, and sentences.

    no solution, 无解, the empty set, \{\}           \emptyset
    all real numbers, 全体实数, \mathbb{R}            (-\infty,\infty)
    yes, 是; no, 不能; Wednesday, 周三                 one word each
    "The answer is 42.", "Natalia sold 72 clips"    42, 72: exactly one number, not retracted
    "not 42", "41 or 42", "at least 42"             no value

"no", "no solution" and "no real solution" (which claims less) have three meanings.
"""

from __future__ import annotations

import re

from rewards.math.notation import normalize
from rewards.math.plain_numbers import plain_number

__all__ = ["is_prose", "is_synonym", "phrase_meaning", "stated_value", "strip_lead_in", "text_key"]

_EMPTY_SET = r"\emptyset"
_ALL_REALS = r"(-\infty,\infty)"

_MEANINGS = {
    _EMPTY_SET: r"no solution|no solutions|there is no solution|there are no solutions|empty set|"
    r"empty|null set|has no solution|\emptyset|无解|方程无解|不等式无解|方程组无解|没有解|"
    "空集|解集为空集",
    r"\text{no real solution}": "no real solution|no real solutions|there is no real solution|"
    "there are no real solutions|no real roots|no real root|no real number|no real numbers|"
    "无实数解|无实数根|没有实数根|没有实数解|无实根|无实解",
    _ALL_REALS: "all real numbers|all reals|all real|every real number|any real number|"
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
# Synonyms only of that gold: elsewhere they are a word, a letter or the golden ratio.
_SYNONYMS = {
    _EMPTY_SET: ("none", r"\phi", r"\Phi"),
    _ALL_REALS: ("R", r"\Re", r"\mathbf R", r"\mathbf{R}", r"\mathrm{R}", r"\text{R}"),
}
_MAX_PHRASE_CHARS = 60
_ENDING = re.compile(r"[\s.。!]+$")

_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore)[, ]\s*)?(?:(?:the|my|our)\s+)?(?:(?:final|correct|right)\s+)?"
    r"(?:ans(?:wer)?|result|solution|option|choice)(?:\s+is)?(?:\s+(?:option|choice))?\s*[:=]?\s*"
    r"|\\text\{ ?(?:the )?(?:final )?(?:total|answer|sum|result)(?: is| ?[:=]) ?\}\s*"
    r"|总?一?共(?:有|是)?(?=\d)"
    r"|答案?\s*[:\uff1a]\s*"
    r"|(?:所以|因此|故)?[,:]?\s*(?:最终|正确)?的?(?:答案|结果|选项?)\s*(?:是|为|选)?\s*[::=]?\s*",
    re.IGNORECASE,
)
_RETRACTION = re.compile(
    r"\b(?:not|n't|no|never|nor|or|either|maybe|perhaps|possibly|probably|might|unless|wrong|"
    r"incorrect|false|less|more|greater|least|most|than|about|around|approximately|nearly|almost|"
    r"between|if|cannot|can't|isn't|unknown|but|instead)\b|不|没|非|或|可能|也许|大约|至少|至多|错|小于|大于|之间",
    re.IGNORECASE,
)
_NUMBER_IN_TEXT = re.compile(
    r"(?<![\w.^/])[+-]?(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+)(?:\.\d+)?(?:/\d+)?(?![\d^])", re.ASCII
)
_FORMULA = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_COMMAND = re.compile(
    r"\\(?:text|mathrm|mbox|textbf|textit|textrm|textnormal|mathbf|operatorname|rm)\b"
)
_ANY_COMMAND = re.compile(r"\\(?:begin|end)\{[a-zA-Z*]+\}|\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_HAN = re.compile("[一-鿿]")
_FUNCTION_WORDS = (
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp sqrt pi max min gcd "
    "lcm mod det frac"
)
_FUNCTIONS = frozenset(_FUNCTION_WORDS.split())
_SHORT_WORDS = frozenset("it is so no we he to in of at on by if be or an as".split())  # noqa: SIM905
_ARTICLE = re.compile(r"^(?:the|a|an) ")
_TEXT_NOISE = re.compile(r"[\s{}$\"'`*.!~]+")
_MAX_PROSE_CHARS = 600


def phrase_meaning(text: str) -> str | None:
    """Return the meaning of a normalized answer that is one of the phrases, else None."""
    if len(text) > _MAX_PHRASE_CHARS or text[:1].isdigit():
        return None
    return _MEANING_BY_TEXT.get(_ENDING.sub("", text_key(text)))


def is_synonym(gold: str, text: str) -> bool:
    r"""Whether a text can mean this gold: "none" and \phi no solution, R the reals."""
    words = _SYNONYMS.get(gold, ())
    return text in words or text_key(text) in words


def strip_lead_in(text: str) -> str:
    """Remove a leading "The final answer is", "Answer:" or "答案是"."""
    lead_in = _LEAD_IN.match(text)
    rest = text[lead_in.end() :].strip() if lead_in is not None else ""
    return rest or text


def is_prose(text: str) -> bool:
    r"""Whether a text has words other than LaTeX commands and names of functions.

    Two letters are a product ("xy") unless they are a common word.
    """
    if _HAN.fullmatch(text):
        return True
    words = _WORD.findall(_ANY_COMMAND.sub(" ", _COMMAND.sub(" ", text)))
    return any(
        word not in _FUNCTIONS
        and (len(word) > 2 or not word.isascii() or word.lower() in _SHORT_WORDS)
        for word in words
    )


def stated_value(prose: str) -> str | None:
    """Return the value that a sentence states; None for no value, several, or a retracted one."""
    if len(prose) > _MAX_PROSE_CHARS or _RETRACTION.search(prose):
        return None
    formulas = [next(filter(None, found.groups())) for found in _FORMULA.finditer(prose)]
    rest = _FORMULA.sub(" ", prose)
    if formulas:
        return formulas[0] if len(formulas) == 1 and not _NUMBER_IN_TEXT.search(rest) else None
    numbers = [found.group() for found in _NUMBER_IN_TEXT.finditer(prose)]
    values = {plain_number(normalize(number)) for number in numbers}
    return numbers[-1] if len(values) == 1 else None


def text_key(text: str) -> str:
    """Return the text without case, spaces, quotes and a leading article, for comparison."""
    bare = _TEXT_NOISE.sub(" ", _COMMAND.sub(" ", text)).strip().casefold()
    return re.sub(r"\s*,\s*", ",", _ARTICLE.sub("", bare)).strip("()[] ,;:")
