"""Rows that say the same: exactly, but for case, width and white space, or nearly.

Near: the Jaccard index of two rows' sets of word 5-grams. Only rows that agree in a band of their
min-hashes are compared (Leskovec et al., Mining of Massive Datasets, chapter 3), so that a
hundred thousand rows do not take ten thousand million comparisons.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.data.cleaning.contamination import ngrams

__all__ = ["Duplicates", "content_key", "normalized"]

NGRAM = 5
NUM_BANDS = 32
BAND_HASHES = 4  # two rows at Jaccard 0.8 share a band with 1 - (1 - 0.8**4)**32 > 0.9999999
DEFAULTS = (("context", "steps"), ("prompt", "reasoning_content", "content"))

Hashes = NDArray[np.uint64]  # [n-grams that differ], rising

_SPACE = re.compile(r"\s+")
_SPACE_BESIDE_HAN = re.compile(r"(?<=[\u3000-\u9fff]) | (?=[\u3000-\u9fff])")


class Duplicates:
    """The rows so far; asked with each next one.

    columns: those that are compared; None: (context, steps) of rows that have both, else prompt,
    thought and rest. near: least Jaccard index of a near duplicate; None: only exact ones.
    """

    def __init__(self, *, columns: Sequence[str] | None = None, near: float | None = None) -> None:
        self._chosen = columns
        self._near = near
        self._first: dict[str, str] = {}
        self._grams: dict[str, Hashes] = {}  # 8 bytes for each n-gram of each row
        self._bands: dict[tuple[int, bytes], list[str]] = {}
        draw = np.random.default_rng(0)  # any hash functions will do, but always the same
        size = NUM_BANDS * BAND_HASHES
        self._factors = draw.integers(1, 2**63, size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

    def found(self, row: Mapping[str, Any], *, id: str) -> str | None:
        """The id of the earlier row that says the same; None: it is new, and kept in mind."""
        text = content_key(row, self._columns(row))
        key = hashlib.sha256(text.encode()).hexdigest()
        if key in self._first:
            return self._first[key]
        self._first[key] = id
        return self._found_near(text, id) if self._near is not None else None

    def _columns(self, row: Mapping[str, Any]) -> Sequence[str]:
        if self._chosen is not None:
            return self._chosen
        return DEFAULTS[0] if all(row.get(name) for name in DEFAULTS[0]) else DEFAULTS[1]

    def _found_near(self, text: str, id: str) -> str | None:
        assert self._near is not None, "asked for"
        grams = np.unique(np.array([_hash(gram) for gram in ngrams(text, NGRAM)], dtype=np.uint64))
        if not len(grams):
            return None
        bands = list(enumerate(self._min_hashes(grams)))
        for band in bands:
            for other in self._bands.get(band, ()):
                if _jaccard(grams, self._grams[other]) >= self._near:
                    return other
        self._grams[id] = grams
        for band in bands:
            self._bands.setdefault(band, []).append(id)
        return None

    def _min_hashes(self, grams: Hashes) -> list[bytes]:
        """The least of each hash function, band by band."""
        least = np.array([(grams * factor >> np.uint64(32)).min() for factor in self._factors])
        return [band.tobytes() for band in least.reshape(NUM_BANDS, BAND_HASHES)]


def content_key(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """What the columns hold as one text in which only what is said counts."""
    return "\x1f".join(_said(row.get(name)) for name in columns)


def normalized(text: str) -> str:
    """Without regard to case, width and white space."""
    text = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return _SPACE_BESIDE_HAN.sub("", text)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return "\x1e".join(_said(item) for item in value)
    if isinstance(value, Mapping):
        return "\x1e".join(f"{key}:{_said(value[key])}" for key in sorted(value))
    return "" if value is None else normalized(str(value))


def _jaccard(a: Hashes, b: Hashes) -> float:
    num_both = len(np.intersect1d(a, b, assume_unique=True))
    return num_both / (len(a) + len(b) - num_both)


def _hash(gram: str) -> int:
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest())
