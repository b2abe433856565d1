"""A report as a list of blocks, and the blocks as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Heading", "Quote", "Table", "Text", "to_markdown"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is the report's own."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first column names the row, the others stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Quote:
    """Texts side by side, as models wrote them: (label, text)."""

    texts: Sequence[tuple[str, str]]


Block = Heading | Text | Table | Quote


def to_markdown(blocks: Sequence[Block]) -> str:
    """The whole report, with a newline at its end."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text=text, level=level):
            return f"{'#' * level} {text}"
        case Text(text=text):
            return text
        case Table(head=head, rows=rows):
            return _table(head, rows)
        case Quote(texts=texts):
            return "\n\n".join(f"**{label}**\n\n{_fenced(text)}" for label, text in texts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[_cell(cell) for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    line = "|" + "|".join(_rule(i, width) for i, width in enumerate(widths)) + "|"
    lines = ["| " + " | ".join(_padded(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], line, *lines[1:]])


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]


def _rule(column: int, width: int) -> str:
    return "-" * (width + 2) if column == 0 else "-" * (width + 1) + ":"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _fenced(text: str) -> str:
    """In a fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
