r"""Text with {name} in it: {{name}} stands for {name} itself, and other braces for themselves.

Braces behind a LaTeX command are its argument, as in \boxed{answer}, and are left alone too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rlvr.errors import ConfigError

__all__ = ["fill_placeholders", "find_placeholders"]

_PLACEHOLDER = re.compile(
    r"\\[A-Za-z]+\{[^{}]*\}|\{\{(?P<literal>\w+)\}\}|\{(?P<name>[A-Za-z_]\w*)\}"
)


def find_placeholders(template: str) -> tuple[str, ...]:
    """Names in the order in which they first occur."""
    names = [match["name"] for match in _PLACEHOLDER.finditer(template) if match["name"]]
    return tuple(dict.fromkeys(names))


def fill_placeholders(template: str, values: Mapping[str, Any], *, where: str, key: str) -> str:
    """The text with the values in it, byte for byte.

    Raises ConfigError, naming the row (`where`) and the template's key: a value that is missing.
    """

    def replace(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        if match["name"] is None:
            return match[0]
        value = values.get(match["name"])
        if value is None:
            there = ", ".join(name for name, one in values.items() if one is not None) or "none"
            raise ConfigError(
                f"{where}: has no {match['name']!r} for the {{{match['name']}}} of {key}; "
                f"it has {there}"
            )
        return str(value)

    return _PLACEHOLDER.sub(replace, template)
