r"""Ways to write how many choices there are: C_{10}^3, {}_{10}C_3 and C(10,3) are \binom{10}{3}.

C_{10}^3 with the larger number below is the notation of Chinese schools. C(10,3) is a point, too:
the other side of the comparison decides (`count_call`).
"""

from __future__ import annotations

import re

__all__ = ["count_call", "with_binomials"]

_NUMBER = r"(?:\{(\d{1,4}|[nm])\}|(\d|[nm]))"
_SMALL = r"(?:\{(\d{1,4}|[a-z])\}|(\d|[a-z]))"
_LETTER = r"(?:\\(?:mathrm|text|mathbf)\{ ?([CAP]) ?\}|(?<![\\A-Za-z])([CAP]))"
_BELOW_ABOVE = re.compile(_LETTER + "_" + _NUMBER + r"\^" + _SMALL)
_ABOVE_BELOW = re.compile(_LETTER + r"\^" + _SMALL + "_" + _NUMBER)
_BEFORE_BEHIND = re.compile(
    r"(?:\{\}|(?<![\w)}\]]))[_^]" + _NUMBER + _LETTER.replace(r"(?<![\\A-Za-z])", "") + "_" + _SMALL
)
_PLAIN = re.compile(r"(\d{1,4})([CP])(\d{1,4})", re.ASCII)
_CALL = re.compile(r"([CP])\((\d{1,4}),(\d{1,4})\)", re.ASCII)


def with_binomials(text: str) -> str:
    r"""All of them in a tidy text as \binom or as a quotient of factorials, but for C(10,3)."""
    if not any(letter in text for letter in "CAP"):
        return text
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        return _count(plain[2], plain[1], plain[3]) or text
    text = _BEFORE_BEHIND.sub(_from_before, text)
    return _ABOVE_BELOW.sub(_from_above, _BELOW_ABOVE.sub(_from_below, text))


def count_call(text: str) -> str | None:
    """The number that C(10,3) or P(6,3) is, where the text is that; None for every other."""
    call = _CALL.fullmatch(text)
    return None if call is None else _count(*call.groups())


def _from_before(match: re.Match[str]) -> str:
    top, letter, chosen = (a or b for a, b in _pairs(match))
    return _count(letter, top, chosen) or match.group()


def _from_below(match: re.Match[str]) -> str:
    letter, below, above = (a or b for a, b in _pairs(match))
    return _count(letter, below, above) or match.group()


def _from_above(match: re.Match[str]) -> str:
    letter, above, below = (a or b for a, b in _pairs(match))
    return _count(letter, below, above) or match.group()


def _pairs(match: re.Match[str]) -> list[tuple[str, str]]:
    groups = match.groups(default="")
    return [(groups[place], groups[place + 1]) for place in (0, 2, 4)]


def _count(letter: str, total: str, chosen: str) -> str | None:
    """None where fewer than are chosen are there: then it is no such number."""
    if total.isdigit() != chosen.isdigit() and not chosen.isdigit():
        return None
    if total.isdigit() and int(total) < int(chosen):
        return None
    if letter == "C":
        return rf"\binom{{{total}}}{{{chosen}}}"
    if not total.isdigit():
        return None
    return rf"\frac{{{total}!}}{{{int(total) - int(chosen)}!}}"
