"""A reward of your own: 1 for empty reasoning, falling linearly to 0 at a limit.

A reward follows TRL's contract: keyword arguments are lists with one entry for each completion, and
the result has one float, or None for "cannot be graded", for each completion. A recipe names it by
its dotted path; see recipe.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards import think_format

__all__ = ["brevity"]


def brevity(
    completions: Sequence[str], *, max_chars: int = 200, think_prefilled: Any = None, **columns: Any
) -> list[float]:
    """Return 1 - length / max_chars of the reasoning, at least 0; ill-formed completions get 0."""
    formed = think_format(completions, think_prefilled=think_prefilled)
    return [
        max(0.0, 1.0 - len(text.partition("</think>")[0].removeprefix("<think>")) / max_chars)
        if is_formed
        else 0.0
        for text, is_formed in zip(completions, formed, strict=True)
    ]


brevity.value_range = (0.0, 1.0)  # type: ignore[attr-defined]  # checked before the first step
