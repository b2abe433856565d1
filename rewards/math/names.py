r"""What may stand before an equals sign as the name of a result: m+n=42 and f(3)=42 state 42.

x, x_1, S_{\triangle ABC}, f(3), f'(1), |AB|, \angle ABC, [ABC], \text{Area}   names
m+n, x_1x_2, \frac{m}{n}                           names of what is asked for, in an answer
2x+3y, x^2, x(x+1), 5                              none: 2x+3y=42 is an equation, 5=42 is wrong
"""

from __future__ import annotations

import re

from rewards.math.structure import split_top_level, take_apart

__all__ = ["is_name", "is_result_name", "split_name", "split_shape_name"]

_MAX_CHARS = 80
_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log|lg|exp)(?![A-Za-z])"
_NO_NAME = (
    rf"(?!\\?{_FUNCTION}|\\(?:pi|infty|emptyset|frac|sqrt|binom|cdot|times|pm|mp)(?![A-Za-z]))"
)
_INDEX = r"(?:_(?:\{[^{}=]{1,30}\}|\w))?"
_ACCENT = r"\\(?:overline|overrightarrow|widehat|vec|hat|bar|mathbf|mathrm|mathit|operatorname)"
_ONE = rf"(?:{_NO_NAME}(?![ei](?![A-Za-z_'])|\d)(?:\\[A-Za-z]+|[A-Za-z]){_INDEX}'{{0,3}})"
_WORD = rf"(?:{_NO_NAME}(?!i$|i[0-9])(?:\\[A-Za-z]+|[A-Za-z]+){_INDEX}'{{0,3}})"
_INSIDE = r"[^()=]{1,30}"
_CALLED = r"(?:[fghFGHPQSTENDVARL]|\\(?:varphi|phi|psi|tau|sigma|mu|omega|Gamma)|Var|Cov)"
_ARGUMENTS = rf"(?:{_INSIDE}|{_CALLED}\({_INSIDE}\))"
# f(3), f'(-1), f(g(2)), P(A|B), d(A,B), P(X=2); not x(x+1), which is a product
_CALL = (
    rf"(?:{_CALLED}|[a-z]'{{1,3}}){_INDEX}'{{0,3}}(?:\^\{{-1\}})?[(\[]{_ARGUMENTS}[)\]]"
    r"|P\([A-Z]=\d{1,4}\)|[pqdu]\((?:-?\d{1,4}|[A-Z](?:,[A-Z])?)\)|[mn]\([A-Z]\)"
)
_OPERATOR = (
    r"\\(?:gcd|lcm|det|dim|deg|max|min|operatorname\{[a-z]+\}|mathrm\{[A-Za-z]+\})"
    rf" ?(?:\({_INSIDE}\)|\\?[A-Za-z]{{1,5}})"
)
_CAPITALS = r"[A-Z]{1,4}'{0,2}"
_MARKED = rf"(?:m ?)?\\(?:angle|measuredangle|triangle) ?(?:{_CAPITALS}|\d|\\?[a-z]+)"
_NORM = rf"\\?\|(?:{_CAPITALS}|z{_INDEX}|\\?vec ?\{{?\w{{1,2}}\}}?|{_ACCENT}\{{\w{{1,2}}\}})\\?\|"
_ARROW = r"(?:\\(?:vec|overrightarrow|mathbf|boldsymbol) ?(?:\{\w{1,2}\}|\w) ?)"
_TEXT = r"\\text\{[^{}\d=<>]{1,40}\}(?: ?\(?\\?[A-Za-z ]{1,12}\)?)?"
_TRIGONOMETRIC = (
    rf"\\(?:sin|cos|tan) ?\(?(?:[A-Z]|\\(?:alpha|beta|gamma|theta|phi|varphi)|{_MARKED})\)?"
)
_NAME = re.compile(
    rf"{_WORD}(?:\([A-Za-z](?:,[A-Za-z])*\))?|{_CALL}|{_OPERATOR}|{_MARKED}|{_NORM}"
    rf"|{_ACCENT} ?\{{\w{{1,3}}\}}|\[[A-Z]{{3,6}}\]|{_TEXT}|{_TRIGONOMETRIC}"
)
_TERM = rf"(?:{_ONE} ?){{1,3}}"
_RESULT = re.compile(
    rf"{_TERM}(?:[-+] ?{_TERM}){{0,5}}"
    rf"|\\frac\{{{_TERM}\}}\{{{_TERM}\}}|{_TERM}/{_TERM}|\\int(?!_).{{1,60}}d ?[a-z]"
    rf"|{_ARROW}\\cdot ?{_ARROW}|[A-Z]{{2}} ?\\cdot ?[A-Z]{{2}}"
    r"|\\lim_?\{[^{}]{1,30}\}.{1,50}"
)
_PRODUCT = re.compile(r"([A-Za-z])[(\[](.*)[)\]]")  # n(n+1)=42 names nothing
_TAKEN_BACK = re.compile(r"\b(?:not|no|if|or|never|unless)\b|不|非|若")
_PLANE = re.compile(r"(?<!\\)(?<!\\[A-Za-z])[xyz](?![A-Za-z_])")
_COEFFICIENT = re.compile(r"(?<![A-Za-z\\])[a-w](?![A-Za-z_])|[a-w](?=[xyz])")  # ax+b=42
_OPERATION = re.compile(r"\\(?:int|lim|frac)(?![a-z])")
_SEGMENT = re.compile(r"(?:\\overline\{|\\?\||)([A-Z])([A-Z])(?:\}|\\?\||)")


def is_name(text: str) -> bool:
    """The name of a quantity, a function's value, a segment, an angle, an area."""
    if len(text) > _MAX_CHARS or _TAKEN_BACK.search(text) or not _NAME.fullmatch(text):
        return False
    product = _PRODUCT.fullmatch(text)
    return product is None or product[1] not in product[2]


def is_result_name(text: str, *, of_gold: bool = False) -> bool:
    """Also a sum or a quotient of letters.

    In a gold not of x, y and z: x+y=5 is a line there, and 5 is not.
    """
    if is_name(text):
        return True
    if len(text) > _MAX_CHARS or not _RESULT.fullmatch(text):
        return False
    is_of_plane = not _OPERATION.match(text) and _PLANE.search(text) is not None
    return not (is_of_plane and (of_gold or _COEFFICIENT.search(text)))


def split_name(text: str) -> tuple[str | None, str]:
    """`x=5` is x and 5; None and all of it where it is not one name and one value."""
    sides = split_top_level(text, "=") if "=" in text else ()
    if len(sides) != 2 or not sides[1] or not is_name(sides[0]):
        return None, text
    return _plain_name(sides[0]), sides[1]


def split_shape_name(text: str) -> tuple[str | None, str]:
    r"""The same where the value is a set, a tuple or a matrix: `A=\begin{pmatrix}...`."""
    name, value = split_name(text)
    if name is None or take_apart(value).kind == "scalar" or r"\pm" in value:
        return None, text
    return name, value


def _plain_name(name: str) -> str:
    """Both ends of a segment in one order, whatever marks it: |BA| is AB."""
    segment = _SEGMENT.fullmatch(name)
    return name if segment is None else "".join(sorted(segment.groups()))
