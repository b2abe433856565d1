"""What adapters have in common: the mapped columns of a row, and rows of which no task comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["UnreadableRow", "Values"]

Values = Mapping[str, Any]


class UnreadableRow(ValueError):
    """The row has its columns, but no task can be made of what they hold."""
