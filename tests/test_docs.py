"""Links and paths in the documentation exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not {".venv", "runs", ".github"} & set(path.parts)
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:rlvr|rewards|sandbox|tests|recipes|docs|bench|examples)/[\w./-]+\w)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    if page.name != "CHANGELOG.md":  # it names what is gone
        missing += [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert not missing
