"""The documentation: links and paths exist, docstrings keep the style."""

from __future__ import annotations

import ast
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


def test_docstrings_begin_with_a_verb_or_name_the_thing() -> None:
    """As in PyTorch's documentation: "Return the ...", "Elapsed times of a step"."""
    wrong = re.compile(r"(Has|How|Is|Of|That|Those|What|Whatever|Where|Which|Who)\b")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for package in ("rewards", "rlvr", "sandbox")
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds) and (text := ast.get_docstring(node)) and wrong.match(text)
    ]
    assert not found
