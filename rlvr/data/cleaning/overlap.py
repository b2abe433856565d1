"""Find texts that overlap by n-grams: with an evaluation set, or with earlier samples.

Contamination follows open-r1 (huggingface/open-r1, scripts/decontaminate.py: lower-cased word
8-grams of the problem), but a character of a script without spaces is a word, a shorter text
matches as a whole, and an n-gram that many texts of a set share is boilerplate and does not count.

Duplicates are exact, regardless of case, width and white space, or near: with a high Jaccard index
of word 5-grams, computed only for samples that agree in a band of min-hashes (Leskovec et al.,
Mining of Massive Datasets, chapter 3).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Contamination", "Duplicates", "ngrams", "normalized", "words"]

NGRAM = 8
MAX_TEXTS, MAX_TEXT_FRAC = 2, 0.05  # an n-gram in more texts of a set than both is boilerplate
DUPLICATE_NGRAM = 5
NUM_BANDS = 32
BAND_HASHES = 4  # two samples at Jaccard 0.8 share a band with 1 - (1 - 0.8**4)**32 > 0.9999999
DEFAULTS = (("context", "steps"), ("prompt", "reasoning_content", "content"))

Hashes = NDArray[np.uint64]  # [unique n-grams], ascending

_SPACE = re.compile(r"\s+")
_SPACE_BESIDE_HAN = re.compile(r"(?<=[\u3000-\u9fff]) | (?=[\u3000-\u9fff])")
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
    if found := words(text):
        for start in range(max(1, len(found) - size + 1)):
            yield " ".join(found[start : start + size])


def _distinctive_ngrams(texts: Iterable[str], size: int) -> Iterator[str]:
    unique = {" ".join(words(text)): text for text in texts}
    counts = Counter(gram for text in unique.values() for gram in set(ngrams(text, size)))
    limit = max(MAX_TEXTS, MAX_TEXT_FRAC * len(unique))
    return (gram for gram, count in counts.items() if count <= limit)


class Duplicates:
    """The samples so far, to compare the next one with.

    columns: the columns to compare; None: context and steps if the sample has both, else prompt,
    reasoning and answer. near: the least Jaccard index of a near duplicate; None: exact ones only.
    """

    def __init__(self, *, columns: Sequence[str] | None = None, near: float | None = None) -> None:
        self._columns = columns
        self._near = near
        self._exact: dict[str, str] = {}
        self._grams: dict[str, Hashes] = {}  # 8 bytes per n-gram of each sample
        self._bands: dict[tuple[int, bytes], list[str]] = {}
        rng = np.random.default_rng(0)  # any hash functions would do; these are always the same
        size = NUM_BANDS * BAND_HASHES
        self._factors = rng.integers(1, 2**63, size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

    def found(self, sample: Mapping[str, Any], *, id: str) -> str | None:
        """Return the id of an earlier duplicate, or None after adding the sample."""
        columns = self._columns
        if columns is None:
            columns = DEFAULTS[0] if all(sample.get(name) for name in DEFAULTS[0]) else DEFAULTS[1]
        text = "\x1f".join(_flat_text(sample.get(name)) for name in columns)
        key = hashlib.sha256(text.encode()).hexdigest()
        if key in self._exact:
            return self._exact[key]
        self._exact[key] = id
        return None if self._near is None else self._found_near(text, id, self._near)

    def _found_near(self, text: str, id: str, least: float) -> str | None:
        grams_text = ngrams(text, DUPLICATE_NGRAM)
        digests = (hashlib.blake2b(gram.encode(), digest_size=8).digest() for gram in grams_text)
        grams = np.unique(np.array([int.from_bytes(one) for one in digests], dtype=np.uint64))
        if not len(grams):
            return None
        minima = [(grams * factor >> np.uint64(32)).min() for factor in self._factors]
        by_band = np.array(minima).reshape(NUM_BANDS, BAND_HASHES)
        bands = [(number, band.tobytes()) for number, band in enumerate(by_band)]
        for band in bands:
            for other in self._bands.get(band, ()):
                if _jaccard(grams, self._grams[other]) >= least:
                    return other
        self._grams[id] = grams
        for band in bands:
            self._bands.setdefault(band, []).append(id)
        return None


def normalized(text: str) -> str:
    """Return the text in one case and width, with single spaces and none beside Han characters."""
    text = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return _SPACE_BESIDE_HAN.sub("", text)


def _flat_text(value: Any) -> str:
    if isinstance(value, list):
        return "\x1e".join(_flat_text(item) for item in value)
    if isinstance(value, Mapping):
        return "\x1e".join(f"{key}:{_flat_text(value[key])}" for key in sorted(value))
    return "" if value is None else normalized(str(value))


def _jaccard(a: Hashes, b: Hashes) -> float:
    num_both = len(np.intersect1d(a, b, assume_unique=True))
    return num_both / (len(a) + len(b) - num_both)
