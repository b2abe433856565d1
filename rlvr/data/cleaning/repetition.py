"""How much of a text comes again: 1 - different n-grams / n-grams, the number that `repetition`
turns into a penalty.
"""

from __future__ import annotations

from rewards.shaping.repeats import grade_repetition

__all__ = ["NGRAM", "repetition_rate"]

NGRAM = 3  # words of English, characters of Chinese


def repetition_rate(text: str, *, ngram: int = NGRAM) -> float:
    """In [0, 1): 0 where nothing comes twice; see rewards.shaping.repeats for what a word is.

    repetition_rate("so so so so", ngram=2) == 2 / 3
    """
    value = grade_repetition(text, ngram_size=ngram, max_penalty=-1.0).value
    assert value is not None, "repetition is always gradable"
    return -value
