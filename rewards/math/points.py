r"""Points and solutions of systems in one shape: x=3,y=-1, (x,y)=(3,-1), P(3,-1) are (3,-1).

So are "x=3 and y=-1" and \begin{cases}x=3\\y=-1\end{cases}; "x=3 or y=-1" is none.
"""

from __future__ import annotations

import re

from rewards.math.structure import split_top_level, take_apart

__all__ = ["as_tuple", "chain_as_tuple"]

MAX_CHARS = 500

_ASSIGNED = re.compile(r"([a-z])=([^=,]{1,100})")
_AND = re.compile(r"\\(?:text|mathrm)\{ ?(?:and|且) ?\}|\band\b|\\land(?![a-z])|并?且|和|与|;")
_CASES = re.compile(r"\\begin\{cases\}(.+)\\end\{cases\}", re.DOTALL)
_CHAIN = re.compile(r"([a-z](?:=[a-z]){1,4})=([^=]{1,100})")
_NAMED_LEFT = re.compile(r"\([a-z](?:,[a-z]){1,5}\)=(?=\()")
_NAMED_POINT = re.compile(r"(?![CP]\(\d+,\d+\)$)[A-Z](?=\([^()]{0,200},)")


def as_tuple(text: str) -> str:
    """In one notation already; every other text as it is."""
    if len(text) > MAX_CHARS:
        return text
    if named := _NAMED_LEFT.match(text) or _NAMED_POINT.match(text):
        rest = text[named.end() :]
        return rest if _is_points(rest) else text
    cases = _CASES.fullmatch(text)
    listed = cases[1].strip().removesuffix("\\\\").replace("\\\\", ",") if cases else text
    listed = _AND.sub(",", listed).replace(",,", ",") if "=" in listed else listed
    parts = [_ASSIGNED.fullmatch(part.strip()) for part in listed.split(",")]
    if len(parts) < 2 or not all(parts):
        return text
    values = {part[1]: part[2] for part in parts if part}
    if len(values) != len(parts) or "".join(sorted(values)) not in "abcdefghijklmnopqrstuvwxyz":
        return text  # one name twice, or letters that are no neighbours: their order is not known
    return f"({','.join(values[name] for name in sorted(values))})"


def chain_as_tuple(text: str) -> str:
    """x=y=z=1 as (1,1,1): what it says beside a gold that is a tuple."""
    chain = _CHAIN.fullmatch(text)
    names = chain[1].split("=") if chain is not None else []
    if chain is None or "".join(sorted(names)) not in "abcdefghijklmnopqrstuvwxyz":
        return text
    return f"({','.join([chain[2]] * len(names))})" if len(set(names)) == len(names) else text


def _is_points(text: str) -> bool:
    """One tuple, or several of the same size: (1,2),(3,4)."""
    kinds = {
        (shape.kind, len(shape.parts)) for shape in map(take_apart, split_top_level(text, ","))
    }
    return len(kinds) == 1 and next(iter(kinds))[0] == "(,)"
