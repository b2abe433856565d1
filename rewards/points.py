r"""Points and solutions of systems in one shape: x=3,y=-1, (x,y)=(3,-1), P(3,-1) are (3,-1)."""

from __future__ import annotations

import re

__all__ = ["as_tuple"]

MAX_CHARS = 500

_ASSIGNED = re.compile(r"([a-z])=([^=,]{1,100})")
_NAMED_LEFT = re.compile(r"\([a-z](?:,[a-z]){1,5}\)=(?=\()")
_NAMED_POINT = re.compile(r"[A-Z](?=\([^()]{0,200},)")


def as_tuple(text: str) -> str:
    """In one notation already; every other text as it is."""
    if len(text) > MAX_CHARS:
        return text
    if named := _NAMED_LEFT.match(text) or _NAMED_POINT.match(text):
        rest = text[named.end() :]
        return rest if rest.endswith(")") and rest.count("(") == 1 else text
    parts = [_ASSIGNED.fullmatch(part.strip()) for part in text.split(",")]
    if len(parts) < 2 or not all(parts):
        return text
    values = {part[1]: part[2] for part in parts if part}
    if len(values) != len(parts) or "".join(sorted(values)) not in "abcdefghijklmnopqrstuvwxyz":
        return text  # one name twice, or letters that are no neighbours: their order is not known
    return f"({','.join(values[name] for name in sorted(values))})"
