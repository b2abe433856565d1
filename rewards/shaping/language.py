r"""`language_consistency`: the share of the words of a thought that are of the target language.

    R_language = number of words of the target language / number of words

DeepSeek-R1 (arXiv 2501.12948), equation 7, computed on the thought; rewards.shaping.words says
what a word
is. Script first; what scripts cannot tell apart, an identifier (rewards.shaping.identify) decides
for four to some dozen words at a time:

    | code                 | words that count                                                    |
    |----------------------|---------------------------------------------------------------------|
    | zh                   | Han characters, simplified and traditional alike                    |
    | zh-Hans, zh-Hant     | Han, in the spelling asked for; a character that both have counts   |
    |                      | where its sentence has no more characters of the other's own        |
    | ja                   | Kana; Han in a sentence with Kana (which then is no Chinese)        |
    | ko, th               | Hangul; Thai                                                        |
    | en fr de es pt it vi | Latin, where the passage is this language's                         |
    | ru, ar, hi           | Cyrillic, Arabic, Devanagari, where it is not Ukrainian, Persian... |

A technical term or a name counts as what its script says: two of three words are Chinese where
"Python" stands between two characters. So does Hanja: it is Chinese.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from rewards.grades import Grade, Outcome
from rewards.shaping.identify import could_be
from rewards.shaping.words import Script, Sentence, sentences
from rewards.transcript import (
    CLOSE_THINK,
    OPEN_THINK,
    Turn,
    after_thought,
    as_turn,
    resolve_think_prefilled,
)

__all__ = [
    "LANGUAGES",
    "check_language",
    "grade_language",
    "grade_languages",
    "language_consistency",
]

_BY_SCRIPT = {"ko": Script.HANGUL, "th": Script.THAI}
_BY_IDENTIFIER = {
    **dict.fromkeys(("en", "fr", "de", "es", "pt", "it", "vi"), Script.LATIN),
    "ru": Script.CYRILLIC,
    "ar": Script.ARABIC,
    "hi": Script.DEVANAGARI,
}
LANGUAGES = tuple(sorted({"zh", "zh-Hans", "zh-Hant", "ja", *_BY_SCRIPT, *_BY_IDENTIFIER}))

_SENTENCE_WORDS = 4  # fewer are judged with what follows
_CLAUSE_WORDS = 5
_PASSAGE_WORDS = 24  # where there is no punctuation

_NO_THOUGHT = Grade(value=0.0, outcome=Outcome.NO_ANSWER, reason="no thought")
_TRUNCATED = Grade(
    value=0.0, outcome=Outcome.TRUNCATED, reason="the thought was opened and never closed"
)
_NO_WORD = Grade(value=0.0, outcome=Outcome.NO_ANSWER, reason="no word in the thought")


def language_consistency(
    completions: Sequence[object],
    language: str | Sequence[str],
    *,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[float | None]:
    """The share of words of `language`, a code or one a completion, in each thought; never None.

    The thought is a message's `reasoning_content` (or `thinking`), else what stands between
    `<think>` and the last `</think>`. Without a thought, or a word in it, a completion earns 0.

        language_consistency(["<think>用Python写</think>42"], "zh") == [2 / 3]

    Raises:
        ValueError: an unknown code, lengths that differ, or a completion of neither kind.
    """
    flags = resolve_think_prefilled(len(completions), think_prefilled, prompts)
    return [grade.value for grade in grade_languages(completions, language, flags)]


def grade_language(
    completion: object, language: str, *, think_prefilled: bool | None = None
) -> Grade:
    """`language_consistency` of one completion, with its outcome and a reason in words."""
    return grade_languages([completion], language, [bool(think_prefilled)])[0]


def grade_languages(
    completions: Sequence[object], language: str | Sequence[str], think_prefilled: Sequence[bool]
) -> list[Grade]:
    """`grade_language` for many at once."""
    codes = [language] * len(completions) if isinstance(language, str) else list(language)
    if len(codes) != len(completions):
        raise ValueError(f"{len(completions)} completions, but {len(codes)} languages")
    for code in codes:
        check_language(code)
    rows = zip(completions, codes, think_prefilled, strict=True)
    return [
        _grade(_thought(as_turn(completion), is_open), code) for completion, code, is_open in rows
    ]


def check_language(language: object) -> None:
    """Raises ValueError for a code that is not known."""
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; allowed: {', '.join(LANGUAGES)}")


def _thought(turn: Turn, think_prefilled: bool) -> str | Grade:
    if turn.thought is not None:
        return turn.thought
    if after_thought(turn, think_prefilled) is None:
        return _TRUNCATED
    end = turn.text.rfind(CLOSE_THINK)
    if end < 0:
        return _NO_THOUGHT
    start = -1 if think_prefilled else turn.text.find(OPEN_THINK, 0, end)
    return turn.text[start + len(OPEN_THINK) if start >= 0 else 0 : end]


def _grade(thought: str | Grade, language: str) -> Grade:
    if isinstance(thought, Grade):
        return thought
    said = list(sentences(thought))
    num_words = sum(map(len, said))
    if not num_words:
        return _NO_WORD
    num_target = _num_target(said, language)
    return Grade(
        value=num_target / num_words,
        outcome=Outcome.CORRECT if num_target == num_words else Outcome.WRONG,
        reason=f"{num_target} of {num_words} words are {language}",
    )


def _num_target(said: Sequence[Sentence], language: str) -> int:
    if language == "ja":
        return sum(map(_num_japanese, said))
    if language.startswith("zh"):
        return sum(_num_chinese(sentence, language) for sentence in said)
    if language in _BY_SCRIPT:
        return sum(word.script is _BY_SCRIPT[language] for sentence in said for word in sentence)
    return _num_identified(said, language, _BY_IDENTIFIER[language])


def _has_kana(sentence: Sentence) -> bool:
    return any(word.script is Script.KANA for word in sentence)


def _num_japanese(sentence: Sentence) -> int:
    if not _has_kana(sentence):
        return 0
    return sum(word.script in (Script.KANA, Script.HAN) for word in sentence)


def _num_chinese(sentence: Sentence, language: str) -> int:
    if _has_kana(sentence):
        return 0
    spellings = [_spelling(word.text) for word in sentence if word.script is Script.HAN]
    if language == "zh":
        return len(spellings)
    other = "zh-Hant" if language == "zh-Hans" else "zh-Hans"
    num_own, num_others = spellings.count(language), spellings.count(other)
    num_shared = len(spellings) - num_own - num_others
    return num_own + (num_shared if num_others <= num_own else 0)


@lru_cache(maxsize=32768)
def _spelling(character: str) -> str:
    """The spelling that alone has a character; empty where both or neither has it.

    GB 2312 is the simplified character set, Big5 the traditional one.
    """
    is_simplified, is_traditional = _has(character, "gb2312"), _has(character, "big5")
    if is_simplified == is_traditional:
        return ""
    return "zh-Hans" if is_simplified else "zh-Hant"


def _has(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _num_identified(said: Iterable[Sentence], language: str, script: Script) -> int:
    return sum(
        len(words)
        for words in _passages(said, script)
        if could_be(" ".join(words), language, script)
    )


def _passages(said: Iterable[Sentence], script: Script) -> Iterator[list[str]]:
    """The words of a script, some at a time: sentences, clauses of long ones, short ones joined."""
    before: list[str] = []
    words: list[str] = []
    for sentence in said:
        for word in sentence:
            if word.script is script:
                words.append(word.text)
            is_clause = word.ends_clause and len(words) >= _CLAUSE_WORDS
            if is_clause or len(words) >= _PASSAGE_WORDS:
                if before:
                    yield before
                before, words = words, []
        if len(words) >= _SENTENCE_WORDS:
            if before:
                yield before
            before, words = words, []
    if before or words:
        yield before + words
