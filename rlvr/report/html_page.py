"""The HTML page of a report."""

from __future__ import annotations

from rlvr.report.document import to_html

__all__ = ["to_html"]
