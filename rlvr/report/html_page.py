"""A report as one HTML page: no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rlvr.report.document import Block, Heading, Quote, Table, Text

__all__ = ["to_html"]

_STYLE = """\
:root { color-scheme: light dark; --line: #8885; --faint: #8881; --soft: #888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 .75rem; }
h3 { font-size: 1rem; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .75rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: Canvas; white-space: normal; min-width: 11rem; }
thead th { border-bottom-width: 2px; }
tbody tr:hover td { background: var(--faint); }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem;
  margin: .75rem 0 1.5rem; }
figure { margin: 0; min-width: 0; border: 1px solid var(--line); border-radius: .4rem; }
figcaption { padding: .35rem .75rem; border-bottom: 1px solid var(--line); font-weight: 600;
  font-size: .88rem; }
pre { margin: 0; padding: .6rem .75rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.45 ui-monospace, monospace; max-height: 32rem; overflow-y: auto; }
"""


def to_html(blocks: Sequence[Block], *, title: str, language: str = "en") -> str:
    """The whole page; all text in it is escaped."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(language)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text=text, level=level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text=text):
            return f"<p>{escape(text)}</p>"
        case Table(head=head, rows=rows):
            return _table(head, rows)
        case Quote(texts=texts):
            return f'<div class="side">\n{"".join(_figure(*one) for one in texts)}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n'
        "</table></div>"
    )


def _figure(label: str, text: str) -> str:
    caption = f"<figcaption>{escape(label)}</figcaption>"
    return f"<figure>{caption}<pre>\n{escape(text)}</pre></figure>\n"
