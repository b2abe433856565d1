r"""Equations that name a value: m+n=42 and f(3)=42 state 42; x=3, y=-1 and P(3,-1) state (3,-1).

    x, x_1, S_{\triangle ABC}, f(3), f'(1), |AB|, \angle ABC, [ABC], \text{Area}   names
    m+n, x_1x_2, \frac{m}{n}                           also names of results, in an answer
    2x+3y, x^2, x(x+1), 5                              equations, and 5=42 is wrong

Points and solutions of systems get one shape: "x=3 and y=-1" and
\begin{cases}x=3\\y=-1\end{cases} are (3,-1), but "x=3 or y=-1" is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import ascii_lowercase

from rewards.math.shapes import parse_shape, split_top_level

__all__ = ["as_tuple", "chain_as_tuple", "is_name", "is_result_name", "split_name"]

_MAX_NAME_CHARS = 80
_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log|lg|exp)(?![A-Za-z])"
_NOT_A_NAME = (
    rf"(?!\\?{_FUNCTION}|\\(?:pi|infty|emptyset|frac|sqrt|binom|cdot|times|pm|mp)(?![A-Za-z]))"
)
_INDEX = r"(?:_(?:\{[^{}=]{1,30}\}|\w))?"
_ACCENT = r"\\(?:overline|overrightarrow|widehat|vec|hat|bar|mathbf|mathrm|mathit|operatorname)"
_ONE = rf"(?:{_NOT_A_NAME}(?![ei](?![A-Za-z_'])|\d)(?:\\[A-Za-z]+|[A-Za-z]){_INDEX}'{{0,3}})"
_WORD = rf"(?:{_NOT_A_NAME}(?!i$|i[0-9])(?:\\[A-Za-z]+|[A-Za-z]+){_INDEX}'{{0,3}})"
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
_NEGATION = re.compile(r"\b(?:not|no|if|or|never|unless)\b|不|非|若")
_PLANE = re.compile(r"(?<!\\)(?<!\\[A-Za-z])[xyz](?![A-Za-z_])")
_COEFFICIENT = re.compile(r"(?<![A-Za-z\\])[a-w](?![A-Za-z_])|[a-w](?=[xyz])")  # ax+b=42
_OPERATION = re.compile(r"\\(?:int|lim|frac)(?![a-z])")
_SEGMENT = re.compile(r"(?:\\overline\{|\\?\||)([A-Z])([A-Z])(?:\}|\\?\||)")

_MAX_TUPLE_CHARS = 500
_ASSIGNED = re.compile(r"([a-z])=([^=,]{1,100})")
_AND = re.compile(r"\\(?:text|mathrm)\{ ?(?:and|且) ?\}|\band\b|\\land(?![a-z])|并?且|和|与|;")
_CASES_BODY = re.compile(r"\\begin\{cases\}(.+)\\end\{cases\}", re.DOTALL)
_CHAIN = re.compile(r"([a-z](?:=[a-z]){1,4})=([^=]{1,100})")
_NAMED_LEFT = re.compile(r"\([a-z](?:,[a-z]){1,5}\)=(?=\()")
_NAMED_POINT = re.compile(r"(?![CP]\(\d+,\d+\)$)[A-Z](?=\([^()]{0,200},)")


def is_name(text: str) -> bool:
    """Whether a text names a variable, a value of a function, a segment, an angle or an area."""
    if len(text) > _MAX_NAME_CHARS or _NEGATION.search(text) or not _NAME.fullmatch(text):
        return False
    product = _PRODUCT.fullmatch(text)
    return product is None or product[1] not in product[2]


def is_result_name(text: str, *, of_gold: bool = False) -> bool:
    """Whether a text is a name, or a sum or quotient of names.

    In a gold x, y and z make an equation: x+y=5 is a line, not the value 5.
    """
    if is_name(text):
        return True
    if len(text) > _MAX_NAME_CHARS or not _RESULT.fullmatch(text):
        return False
    has_coordinate = not _OPERATION.match(text) and _PLANE.search(text) is not None
    return not (has_coordinate and (of_gold or _COEFFICIENT.search(text)))


def split_name(text: str) -> tuple[str | None, str]:
    """Split `x=5` into x and 5; return None and the text unless it is one name and one value."""
    sides = split_top_level(text, "=") if "=" in text else ()
    if len(sides) != 2 or not sides[1] or not is_name(sides[0]):
        return None, text
    segment = _SEGMENT.fullmatch(sides[0])  # |BA| is AB
    return "".join(sorted(segment.groups())) if segment else sides[0], sides[1]


def as_tuple(text: str) -> str:
    """Write a point or the solution of a system as a tuple; return any other text unchanged."""
    if len(text) > _MAX_TUPLE_CHARS:
        return text
    if named := _NAMED_LEFT.match(text) or _NAMED_POINT.match(text):
        rest = text[named.end() :]  # one tuple, or several of the same size: (1,2),(3,4)
        shapes = map(parse_shape, split_top_level(rest, ","))
        kinds = {(shape.kind, len(shape.parts)) for shape in shapes}
        return rest if len(kinds) == 1 and kinds.pop()[0] == "(,)" else text
    cases = _CASES_BODY.fullmatch(text)
    listed = cases[1].strip().removesuffix("\\\\").replace("\\\\", ",") if cases else text
    listed = _AND.sub(",", listed).replace(",,", ",") if "=" in listed else listed
    parts = [_ASSIGNED.fullmatch(part.strip()) for part in listed.split(",")]
    if len(parts) < 2 or not all(parts):
        return text
    values = {part[1]: part[2] for part in parts if part}
    if not _are_consecutive(values) or len(values) != len(parts):
        return text  # the order of the values is unknown, or a name repeats
    return f"({','.join(values[name] for name in sorted(values))})"


def chain_as_tuple(text: str) -> str:
    """Write x=y=z=1 as (1,1,1); return any other text unchanged."""
    chain = _CHAIN.fullmatch(text)
    names = chain[1].split("=") if chain is not None else []
    if chain is None or not _are_consecutive(names):
        return text
    return f"({','.join([chain[2]] * len(names))})"


def _are_consecutive(letters: Iterable[str]) -> bool:
    return "".join(sorted(letters)) in ascii_lowercase
