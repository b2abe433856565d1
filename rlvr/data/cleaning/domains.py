"""What a row is about, by keywords: finance, medical, law, math, code, ... (domains.yaml).

A row may be of several domains; the one with the most different keywords comes first, among equals
the one that stands first in the file. None of them: other.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from rlvr.errors import ConfigError

__all__ = ["OTHER", "Domains", "balance", "read_domains"]

OTHER = "other"


class Domains:
    """`Domains({"finance": ["利率", "interest rate"]}).of("央行上调利率") == ["finance"]`."""

    def __init__(self, keywords: Mapping[str, Sequence[str]], *, min_keywords: int = 1) -> None:
        self._patterns = {
            domain: [_pattern(word) for word in words] for domain, words in keywords.items()
        }
        self._min_keywords = min_keywords

    def of(self, text: str) -> list[str]:
        """All domains of a text, the clearest first; never empty."""
        text = unicodedata.normalize("NFKC", text).casefold()
        counts = {
            domain: sum(pattern.search(text) is not None for pattern in patterns)
            for domain, patterns in self._patterns.items()
        }
        found = [domain for domain, count in counts.items() if count >= self._min_keywords]
        return sorted(found, key=lambda domain: -counts[domain]) or [OTHER]


def read_domains(path: str | None = None) -> dict[str, list[str]]:
    """Keywords by domain, ours or a file's. Raises ConfigError for a file of another form."""
    if path is None:
        return {domain: list(words) for domain, words in _ours().items()}
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not _is_form(data):
        raise ConfigError(f"{path}: is not a mapping of each domain to a list of its keywords")
    return dict(data)


def balance(domains: Iterable[str]) -> dict[str, Any]:
    """Rows by domain, and how even they are: the smallest to the largest, 1 being balanced."""
    counts = Counter(domains)
    least, most = min(counts.values(), default=0), max(counts.values(), default=0)
    return {
        "rows": dict(counts.most_common()),
        "smallest_to_largest": round(least / most, 3) if most else None,
    }


@cache
def _ours() -> dict[str, list[str]]:
    text = files("rlvr.data.cleaning").joinpath("domains.yaml").read_text(encoding="utf-8")
    data: dict[str, list[str]] = yaml.safe_load(text)
    return data


def _is_form(data: Any) -> bool:
    return isinstance(data, dict) and all(
        isinstance(words, list) and all(isinstance(word, str) and word for word in words)
        for words in data.values()
    )


def _pattern(keyword: str) -> re.Pattern[str]:
    """A whole word where words have spaces between them."""
    word = re.escape(unicodedata.normalize("NFKC", keyword).casefold())
    return re.compile(rf"\b{word}\b" if keyword.isascii() else word)
