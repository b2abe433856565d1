r"""Plain text of an answer: a text answer ("Friday", "B"), or prose that states exactly one value.

"The answer is 42."     42
"Natalia sold 72 clips" 72       one number, nothing that takes it back
"not 42", "41 or 42", "at least 42", "42 or so"    nothing: it does not state one answer
"""

from __future__ import annotations

import re

from rewards.math.notation import tidy
from rewards.math.plain_numbers import plain_number

__all__ = ["is_prose", "stated_value", "strip_lead_in", "text_key"]

_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore)[, ]\s*)?(?:(?:the|my|our)\s+)?(?:(?:final|correct|right)\s+)?"
    r"(?:ans(?:wer)?|result|solution|option|choice)(?:\s+is)?(?:\s+(?:option|choice))?\s*[:=]?\s*"
    r"|\\text\{ ?(?:the )?(?:final )?(?:total|answer|sum|result)(?: is| ?[:=]) ?\}\s*"
    r"|总?一?共(?:有|是)?(?=\d)"
    r"|答案?\s*[:\uff1a]\s*"
    r"|(?:所以|因此|故)?[,:]?\s*(?:最终|正确)?的?(?:答案|结果|选项?)\s*(?:是|为|选)?\s*[::=]?\s*",
    re.IGNORECASE,
)
_REFUSED = re.compile(
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


def strip_lead_in(text: str) -> str:
    """Take "The final answer is", "Answer:", "答案是" off the front."""
    lead_in = _LEAD_IN.match(text)
    rest = text[lead_in.end() :].strip() if lead_in is not None else ""
    return rest or text


def is_prose(text: str) -> bool:
    r"""It has words that are neither LaTeX commands nor names of functions.

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
    """The one value that a sentence states; None: none, several, or one that is taken back."""
    if len(prose) > _MAX_PROSE_CHARS or _REFUSED.search(prose):
        return None
    formulas = [next(filter(None, found.groups())) for found in _FORMULA.finditer(prose)]
    rest = _FORMULA.sub(" ", prose)
    if formulas:
        return formulas[0] if len(formulas) == 1 and not _NUMBER_IN_TEXT.search(rest) else None
    numbers = [found.group() for found in _NUMBER_IN_TEXT.finditer(prose)]
    values = {plain_number(tidy(number)) for number in numbers}
    return numbers[-1] if len(values) == 1 else None


def text_key(text: str) -> str:
    """What text is compared by: case, spaces, quotes and a leading article do not count."""
    bare = _TEXT_NOISE.sub(" ", _COMMAND.sub(" ", text)).strip().casefold()
    return re.sub(r"\s*,\s*", ",", _ARTICLE.sub("", bare)).strip("()[] ,;:")
