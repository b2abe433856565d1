"""Which language is this passage, of those that share its script? py3langid says, offline.

Its model (BSD-3, 4.5 MB, naive Bayes over byte n-grams; 0.6 s to load) is loaded at the first
question. Of the identifiers that work offline it was the most accurate on 140 short sentences of
worked problems in seven languages, each between one and thirteen words:

    | identifier             | right | ms per 2,000 characters | on disk | last release |
    |------------------------|-------|-------------------------|---------|--------------|
    | py3langid 0.4.0        | 138   | 2.5                     | 5 MB    | 2026         |
    | lingua 2.1.1           | 139   | 9.0                     | 96 MB   | 2026         |
    | lingua, low accuracy   | 133   | 6.0                     | 96 MB   | 2026         |
    | langid 1.1.6           | 133   | 2.7                     | 5 MB    | 2016         |
    | pycld2 0.42            | 128   | 1.7                     | 14 MB   | 2025         |

Beside the languages that a reward can ask for stand those that would be taken for them: without
Dutch, Dutch is German.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

from rewards.shaping.words import Script

__all__ = ["RIVALS", "could_be"]

RIVALS: Mapping[Script, tuple[str, ...]] = {
    Script.LATIN: (
        *("en", "fr", "de", "es", "pt", "it", "vi", "nl", "sv", "da", "no", "fi", "pl", "cs"),
        *("hu", "ro", "tr", "id"),
    ),
    Script.CYRILLIC: ("ru", "uk", "be", "bg", "mk", "sr"),
    Script.ARABIC: ("ar", "fa", "ur", "ps", "ug"),
    Script.DEVANAGARI: ("hi", "mr", "ne"),
}

# Nats by which another may be likelier. Latin: all 140 sentences then pass for their own language,
# and 5 of 840 for another. Of the rest the language that can be asked for is by far the commonest.
_DOUBT = {Script.LATIN: 3.0, Script.CYRILLIC: 12.0, Script.ARABIC: 12.0, Script.DEVANAGARI: 12.0}
_loading = threading.Lock()


def could_be(text: str, language: str, script: Script) -> bool:
    """Is `language` the likeliest of its script, or so near that it may well be?"""
    scores = dict(_identifier(script).rank(text))
    return bool(scores[language] >= max(scores.values()) - _DOUBT[script])


def _identifier(script: Script) -> Any:
    with _loading:
        return _restricted(script)


@cache
def _restricted(script: Script) -> Any:
    identifier = copy.copy(_whole_model())
    identifier.set_languages(RIVALS[script])
    return identifier


@cache
def _whole_model() -> Any:
    from py3langid.langid import (  # type: ignore[import-untyped]  # with numpy: 0.2 s
        MODEL_FILE,
        LanguageIdentifier,
    )

    return LanguageIdentifier.from_model_file(MODEL_FILE)
