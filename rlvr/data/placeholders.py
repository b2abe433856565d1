r"""Text templates with {name} placeholders; {{name}} is a literal {name}.

Other braces are literal, and so is the argument of a LaTeX command, as in \boxed{answer}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rlvr.errors import ConfigError

__all__ = ["fill_placeholders"]

_PLACEHOLDER = re.compile(
    r"\\[A-Za-z]+\{[^{}]*\}|\{\{(?P<literal>\w+)\}\}|\{(?P<name>[A-Za-z_]\w*)\}"
)


def fill_placeholders(template: str, values: Mapping[str, Any], *, where: str, key: str) -> str:
    """Return the template with its values filled in unchanged.

    Raises ConfigError: a value is missing; names the row (`where`) and the template's `key`.
    """

    def replace(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        if match["name"] is None:
            return match[0]
        value = values.get(match["name"])
        if value is None:
            found = ", ".join(name for name, one in values.items() if one is not None) or "none"
            raise ConfigError(
                f"{where}: has no {match['name']!r} for the {{{match['name']}}} of {key}; "
                f"it has {found}"
            )
        return str(value)

    return _PLACEHOLDER.sub(replace, template)
