"""A report as a list of blocks, rendered as Markdown and as one HTML page (report.*.j2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from rlvr.run.run_folder import report_disk_errors

__all__ = ["Block", "Heading", "Quote", "Table", "Text", "to_html", "to_markdown", "write_report"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 is the title of the report."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first column names the row, the others are right-aligned."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Quote:
    """Verbatim texts side by side, such as completions: (label, text)."""

    texts: Sequence[tuple[str, str]]


Block = Heading | Text | Table | Quote


def write_report(folder: Path, blocks: Sequence[Block], *, title: str) -> None:
    """Write report.md and report.html. Raises RLVRError if the disk refuses them."""
    texts = {"report.md": to_markdown(blocks), "report.html": to_html(blocks, title=title)}
    for name, text in texts.items():
        with report_disk_errors(folder / name):
            (folder / name).write_text(text, encoding="utf-8")


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the report as Markdown, with aligned tables."""
    return _environment().get_template("report.md.j2").render(blocks=blocks)


def to_html(blocks: Sequence[Block], *, title: str) -> str:
    """Return the report as a self-contained HTML page without scripts; all text is escaped."""
    return _environment().get_template("report.html.j2").render(blocks=blocks, title=title)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"kind": _kind, "aligned": _aligned, "fenced": _fenced}
    return environment


def _kind(block: Block) -> str:
    return type(block).__name__


def _aligned(table: Table) -> str:
    """Return a Markdown table whose columns are padded to equal widths."""
    rows = [[_cell(cell) for cell in row] for row in (table.head, *table.rows)]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = ["| " + " | ".join(_padded(row, widths)) + " |" for row in rows]
    rules = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    return "\n".join([head, f"|{'|'.join(rules)}|", *body])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]


def _fenced(text: str) -> str:
    """Return a code block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
