"""Detect texts of an evaluation set by n-grams, in any writing system.

Follows open-r1 (huggingface/open-r1, scripts/decontaminate.py: lower-cased word 8-grams of the
problem), with three differences: a character of a script without spaces is a word; a shorter text
matches as a whole; and an n-gram that many texts of a set share ("put your final answer
within...") is boilerplate and does not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Contamination", "ngrams", "words"]

NGRAM = 8
MAX_TEXTS, MAX_TEXT_FRAC = 2, 0.05  # an n-gram in more texts of a set than both is boilerplate

# a character of a script without spaces; a run of letters or digits; an arithmetic sign
_WORD = re.compile(
    "[\u0e01-\u0eff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
    "|[^\\W\\d_\u0e01-\u0eff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]+"
    "|\\d+|[-+*/^=<>\u00d7\u00f7\u2212]"
)


class Contamination:
    """Named evaluation sets, to find texts that share n words in a row with one of them.

    Contamination({"quiz": ["What is 12+30?"]}).found("what is 12 + 30") == "quiz"
    """

    def __init__(self, sets: Mapping[str, Iterable[str]], *, ngram: int = NGRAM) -> None:
        if ngram < 1:
            raise ValueError(f"ngram is {ngram}; it must be 1 or more")
        self._ngram = ngram
        self._set_of: dict[str, str] = {}
        for name, texts in sets.items():
            for gram in _distinctive_ngrams(texts, ngram):
                self._set_of.setdefault(gram, name)

    def found(self, text: str) -> str | None:
        """Return the name of the set that shares an n-gram with the text, or None."""
        grams = ngrams(text, self._ngram)
        return next((self._set_of[gram] for gram in grams if gram in self._set_of), None)


def words(text: str) -> list[str]:
    """Return the words of a text, regardless of case, width and punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(text: str, size: int) -> Iterator[str]:
    """Yield each run of `size` words; the whole of a shorter text."""
    found = words(text)
    if found:
        for start in range(max(1, len(found) - size + 1)):
            yield " ".join(found[start : start + size])


def _distinctive_ngrams(texts: Iterable[str], size: int) -> Iterator[str]:
    unique = {" ".join(words(text)): text for text in texts}
    counts = Counter(gram for text in unique.values() for gram in set(ngrams(text, size)))
    limit = max(MAX_TEXTS, MAX_TEXT_FRAC * len(unique))
    return (gram for gram, count in counts.items() if count <= limit)
