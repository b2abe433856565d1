"""Is a text one that a model will be evaluated on? By n-grams, in any writing system.

The manner of open-r1 (huggingface/open-r1, scripts/decontaminate.py: lower-cased word 8-grams of
the problem), with three differences: a character of a script without spaces is a word; a shorter
text counts where it is the same from end to end; and what many texts of a set have in common ("put
your final answer within...") is a form of words, and says nothing of one of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Contamination", "ngrams", "words"]

NGRAM = 8
FORM_FRAC = 0.05  # of the texts of a set: an n-gram in more than these, and in more than two
FORM_TEXTS = 2

# a character of a script without spaces; a run of letters or digits; a sign that changes a sum
_WORD = re.compile(
    "[\u0e01-\u0eff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
    "|[^\\W\\d_\u0e01-\u0eff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]+"
    "|\\d+|[-+*/^=<>\u00d7\u00f7\u2212]"
)


class Contamination:
    """Named evaluation sets, asked whether a text has n words in a row from one of them.

    Contamination({"quiz": ["What is 12+30?"]}).found("what is 12 + 30") == "quiz"
    """

    def __init__(self, sets: Mapping[str, Iterable[str]], *, ngram: int = NGRAM) -> None:
        if ngram < 1:
            raise ValueError(f"ngram is {ngram}; it must be 1 or more")
        self._ngram = ngram
        self._where: dict[str, str] = {}
        for name, texts in sets.items():
            for gram in _telling(texts, ngram):
                self._where.setdefault(gram, name)

    def found(self, text: str) -> str | None:
        """The name of the set that the text shares an n-gram with; None: of none."""
        grams = ngrams(text, self._ngram)
        return next((self._where[gram] for gram in grams if gram in self._where), None)


def words(text: str) -> list[str]:
    """The words of a text, without regard to case, width and punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(text: str, size: int) -> Iterator[str]:
    """Each run of `size` words; of a text with fewer all of it, if it has any."""
    said = words(text)
    if said:
        for start in range(max(1, len(said) - size + 1)):
            yield " ".join(said[start : start + size])


def _telling(texts: Iterable[str], size: int) -> Iterator[str]:
    """The n-grams of a set that are no mere form of words."""
    different = {" ".join(words(text)): text for text in texts}
    counts = Counter(gram for text in different.values() for gram in set(ngrams(text, size)))
    most = max(FORM_TEXTS, FORM_FRAC * len(different))
    return (gram for gram, count in counts.items() if count <= most)
