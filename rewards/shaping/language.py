r"""`language_consistency`: the share of the words of the reasoning that are in the target language.

    R_language = number of words in the target language / number of words

DeepSeek-R1 (arXiv 2501.12948), equation 7, computed on the reasoning; rewards.shaping.words defines
a word. The script decides first; among the languages of one script py3langid decides, offline, for
four to some dozen words at a time. docs/rewards.md lists the codes with the words they count, and
compares py3langid with other identifiers.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from rewards.base import Grade, Outcome, one_each, reward
from rewards.shaping.words import Script, Sentence, sentences
from rewards.transcript import CLOSE_THINK, OPEN_THINK, Turn, after_thought, as_turns

__all__ = ["LANGUAGES", "grade_language", "language_consistency"]

_BY_SCRIPT = {"ko": Script.HANGUL, "th": Script.THAI}
_BY_IDENTIFIER = {
    **dict.fromkeys(("en", "fr", "de", "es", "pt", "it", "vi"), Script.LATIN),
    "ru": Script.CYRILLIC,
    "ar": Script.ARABIC,
    "hi": Script.DEVANAGARI,
}
LANGUAGES = tuple(sorted({"zh", "zh-Hans", "zh-Hant", "ja", *_BY_SCRIPT, *_BY_IDENTIFIER}))

# The languages to tell apart: also those easily mistaken for a target, as Dutch is for German.
_CANDIDATES = {
    Script.LATIN: (
        *("en", "fr", "de", "es", "pt", "it", "vi", "nl", "sv", "da", "no", "fi", "pl", "cs"),
        *("hu", "ro", "tr", "id"),
    ),
    Script.CYRILLIC: ("ru", "uk", "be", "bg", "mk", "sr"),
    Script.ARABIC: ("ar", "fa", "ur", "ps", "ug"),
    Script.DEVANAGARI: ("hi", "mr", "ne"),
}
# Nats by which another language may be likelier. With 3 for Latin all 140 sentences pass for their
# own language and 5 of 840 for another; in the other scripts the target is by far the commonest.
_MARGIN = {Script.LATIN: 3.0, Script.CYRILLIC: 12.0, Script.ARABIC: 12.0, Script.DEVANAGARI: 12.0}

_SENTENCE_WORDS = 4  # a shorter sentence is identified together with the next
_CLAUSE_WORDS = 5
_PASSAGE_WORDS = 24  # without punctuation

_loading = threading.Lock()


def _check_language(options: Mapping[str, Any]) -> None:
    language = options.get("language", "en")
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; allowed: {', '.join(LANGUAGES)}")


@reward(columns=("language",), options=("language",), check_options=_check_language)
def language_consistency(
    completions: Sequence[object],
    language: str | Sequence[str],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward the share of words in `language`, one code or one per completion.

    The reasoning is a message's `reasoning_content` (or `thinking`), else the text between
    `<think>` and the last `</think>`. No reasoning, or none with a word, is worth 0.

        language_consistency(["<think>用Python写</think>42"], "zh") == [2 / 3]

    Raises:
        ValueError: an unknown code.
    """
    turns = as_turns(completions, think_prefilled, prompts)
    codes = one_each("language", language, len(completions), shared=True)
    for code in codes:
        _check_language({"language": code})
    return [_grade(_reasoning(*turn), code) for turn, code in zip(turns, codes, strict=True)]


def grade_language(
    completion: object, language: str, *, think_prefilled: bool | None = None
) -> Grade:
    """Return the grade of one completion by `language_consistency`."""
    return language_consistency.grades([completion], language, think_prefilled=think_prefilled)[0]


def _reasoning(turn: Turn, think_prefilled: bool) -> str | Grade:
    if turn.thought is not None:
        return turn.thought
    if after_thought(turn, think_prefilled) is None:
        return Grade.of(Outcome.TRUNCATED, "the reasoning was opened and never closed")
    end = turn.text.rfind(CLOSE_THINK)
    if end < 0:
        return Grade.of(Outcome.NO_ANSWER, "no reasoning")
    start = -1 if think_prefilled else turn.text.find(OPEN_THINK, 0, end)
    return turn.text[start + len(OPEN_THINK) if start >= 0 else 0 : end]


def _grade(reasoning: str | Grade, language: str) -> Grade:
    if isinstance(reasoning, Grade):
        return reasoning
    found = list(sentences(reasoning))
    num_words = sum(map(len, found))
    if not num_words:
        return Grade.of(Outcome.NO_ANSWER, "no word in the reasoning")
    num_target = _num_target(found, language)
    return Grade(
        value=num_target / num_words,
        outcome=Outcome.CORRECT if num_target == num_words else Outcome.WRONG,
        reason=f"{num_target} of {num_words} words are {language}",
    )


def _num_target(found: Sequence[Sentence], language: str) -> int:
    """Return the number of words in `language`."""
    if language == "ja":
        scripts = (Script.KANA, Script.HAN)
        with_kana = (sentence for sentence in found if _has_kana(sentence))
        return sum(word.script in scripts for sentence in with_kana for word in sentence)
    if language.startswith("zh"):
        return sum(_num_chinese(s, language) for s in found if not _has_kana(s))
    if language in _BY_SCRIPT:
        return sum(word.script is _BY_SCRIPT[language] for sentence in found for word in sentence)
    script = _BY_IDENTIFIER[language]
    passages = _passages(found, script)
    return sum(len(words) for words in passages if _could_be(" ".join(words), language, script))


def _has_kana(sentence: Sentence) -> bool:
    return any(word.script is Script.KANA for word in sentence)


def _num_chinese(sentence: Sentence, language: str) -> int:
    spellings = [_spelling(word.text) for word in sentence if word.script is Script.HAN]
    if language == "zh":
        return len(spellings)
    other = "zh-Hant" if language == "zh-Hans" else "zh-Hans"
    num_own, num_others = spellings.count(language), spellings.count(other)
    num_shared = len(spellings) - num_own - num_others
    return num_own + (num_shared if num_others <= num_own else 0)


@lru_cache(maxsize=32768)
def _spelling(character: str) -> str:
    """Return the only spelling that has a character; empty where both or neither has it.

    GB 2312 is the simplified character set, Big5 the traditional one.
    """
    simplified, traditional = (character.encode(name, "ignore") for name in ("gb2312", "big5"))
    if bool(simplified) == bool(traditional):
        return ""
    return "zh-Hans" if simplified else "zh-Hant"


def _passages(found: Sequence[Sentence], script: Script) -> Iterator[list[str]]:
    """Yield the words of a script by sentence: long ones by clause, short ones joined."""
    before: list[str] = []
    words: list[str] = []
    for sentence in found:
        for word in sentence:
            if word.script is script:
                words.append(word.text)
            num_words = _CLAUSE_WORDS if word.ends_clause else _PASSAGE_WORDS
            if len(words) >= (_SENTENCE_WORDS if word is sentence[-1] else num_words):
                if before:
                    yield before
                before, words = words, []
    if before or words:
        yield before + words


def _could_be(text: str, language: str, script: Script) -> bool:
    """Return whether `language` is the likeliest of its script, within the margin."""
    with _loading:
        identifier = _identifier(script)
    scores = dict(identifier.rank(text))
    return bool(scores[language] >= max(scores.values()) - _MARGIN[script])


@cache
def _identifier(script: Script) -> Any:
    identifier = copy.copy(_language_model())
    identifier.set_languages(_CANDIDATES[script])
    return identifier


@cache
def _language_model() -> Any:
    """Load py3langid's model: 0.6 s, and 0.2 s for the import with numpy."""
    from py3langid.langid import (  # type: ignore[import-untyped]
        MODEL_FILE,
        LanguageIdentifier,
    )

    return LanguageIdentifier.from_model_file(MODEL_FILE)
