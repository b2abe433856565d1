"""The domains of a text by keywords: finance, medical, law, math, code, ... (domains.yaml).

A text may have several domains: the one with the most distinct keywords comes first, and ties keep
the order of the file. A text without keywords is "other".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
        """Return all domains of a text, by falling number of keywords; never empty."""
        text = unicodedata.normalize("NFKC", text).casefold()
        counts = Counter(
            {
                domain: sum(pattern.search(text) is not None for pattern in patterns)
                for domain, patterns in self._patterns.items()
            }
        )
        return [d for d, count in counts.most_common() if count >= self._min_keywords] or [OTHER]


def read_domains(path: str | None = None) -> dict[str, list[str]]:
    """Return the keywords by domain, of a file or the default. Raises ConfigError if malformed."""
    file = files("rlvr.data.cleaning").joinpath("domains.yaml") if path is None else Path(path)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or not all(map(_is_words, data.values())):
        raise ConfigError(f"{path}: is not a mapping of each domain to a list of its keywords")
    return data


def balance(domains: Iterable[str]) -> dict[str, Any]:
    """Return the rows by domain, and the ratio of the smallest to the largest."""
    counts = Counter(domains)
    least, most = min(counts.values(), default=0), max(counts.values(), default=0)
    return {
        "rows": dict(counts.most_common()),
        "smallest_to_largest": round(least / most, 3) if most else None,
    }


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and word for word in value)


def _pattern(keyword: str) -> re.Pattern[str]:
    word = re.escape(unicodedata.normalize("NFKC", keyword).casefold())
    return re.compile(rf"\b{word}\b" if keyword.isascii() else word)
