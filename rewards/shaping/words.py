r"""The words of a text by script, without LaTeX, code, URLs, numbers and tags.

    | script                     | word                                                       |
    |----------------------------|------------------------------------------------------------|
    | Han                        | a character                                                |
    | Kana, Hangul               | a maximal run                                              |
    | Latin, Cyrillic, all other | a run of two or more letters; one letter is a variable     |
    | Thai                       | the same; written without spaces, so often a phrase        |

Vowel signs of a script count as letters; combining accents (U+0300) belong to a letter. Ignored:
`$...$`, `\(...\)`, `\[...\]`, `\commands[...]{...}`, fenced and inline code, URLs, `<tags>`. A `$`
that is followed by a space, or has no partner in its paragraph, is a currency.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Script", "Sentence", "Word", "sentences"]


class Script(StrEnum):
    """A writing system."""

    HAN = "han"
    KANA = "kana"
    HANGUL = "hangul"
    LATIN = "latin"
    CYRILLIC = "cyrillic"
    ARABIC = "arabic"
    DEVANAGARI = "devanagari"
    THAI = "thai"
    OTHER = "other"


class Word(NamedTuple):
    """A word, and whether a clause ends after it."""

    text: str
    script: Script
    ends_clause: bool


Sentence = list[Word]

_ACCENTS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_LATIN = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02b8\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua787"
    "\ua78b-\ua7ff\uab30-\uab64\ufb00-\ufb06\uff21-\uff3a\uff41-\uff5a"
)
_CYRILLIC = "\u0400-\u0481\u0483-\u052f\u1c80-\u1c8a\u2de0-\u2dff\ua640-\ua69f"
_ARABIC = (
    "\u0610-\u061a\u0620-\u065f\u066e-\u06d3\u06d5-\u06dc\u06df-\u06e8\u06ea-\u06ef\u06fa-\u06ff"
    "\u0750-\u077f\u0870-\u08ff\ufb50-\ufbb1\ufbd3-\ufd3d\ufd50-\ufdfb\ufe70-\ufefc"
)
_DEVANAGARI = "\u0900-\u0963\u0971-\u097f\ua8e0-\ua8f7\ua8fb-\ua8ff"
_THAI = "\u0e01-\u0e3a\u0e40-\u0e4e"
_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = (
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\U0001aff0-\U0001b16f"
)
_HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb\uffa0-\uffdc"
_NAMED = _LATIN + _CYRILLIC + _ARABIC + _DEVANAGARI + _THAI + _HAN + _KANA + _HANGUL
_SIGNS = "\u0591-\u05c7\u0980-\u0dff\u0e80-\u0fff\u1000-\u109f\u1780-\u17ff"  # of other scripts

_TOKEN = re.compile(
    f"(?P<latin>[{_LATIN}][{_ACCENTS}]*(?:[{_LATIN}][{_ACCENTS}]*)+)"
    f"|(?P<han>[{_HAN}])"
    f"|(?P<stop>[.!?\\n\u2026\u0964\u3002\uff01\uff0e\uff1f;\uff1b\u061f\u06d4])"
    "|(?P<pause>[,:()\u2014\u2013\uff0c\u3001\uff1a\uff08\uff09\u060c])"
    f"|(?P<kana>[{_KANA}]+)"
    f"|(?P<hangul>[{_HANGUL}]+)"
    f"|(?P<cyrillic>[{_CYRILLIC}][{_ACCENTS}]*(?:[{_CYRILLIC}][{_ACCENTS}]*)+)"
    f"|(?P<arabic>[{_ARABIC}]{{2,}})"
    f"|(?P<devanagari>[{_DEVANAGARI}]{{2,}})"
    f"|(?P<thai>[{_THAI}]{{2,}})"
    f"|(?P<other>(?:(?![{_NAMED}])[^\\W\\d_]|[{_SIGNS}]){{2,}})"
)
_NO_LETTERS = re.compile("[\u00aa\u00ba\u2070-\u209f\u2100-\u214f\U0001d400-\U0001d7ff]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_LONG_ACCENTS = re.compile(f"([{_ACCENTS}]{{4}})[{_ACCENTS}]+")

_OPENING = re.compile(
    r"(?P<fence>`{3,}|~{3,})|(?P<code>`{1,2})|(?P<math>\$\$?|\\\(|\\\[)"
    r"|(?P<command>\\[A-Za-z]+\*?)|\\[^\w\s]"
    r"|(?P<url>(?:https?|ftp)://[!-~]+|www\.[!-~]+)"
    r"|(?P<tag></?[A-Za-z][\w:-]{0,40}\s?/?>|<\|[^|<>]{1,40}\|>"
    r"|<[A-Za-z][\w:-]{0,40}\s[^<>=]{1,80}=[^<>]{0,400}>)"
)
_CLOSING = {r"\(": r"\)", r"\[": r"\]"}
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the words of each sentence that has any; a line break also ends a sentence."""
    words: Sentence = []
    for token in _TOKEN.finditer(_without_notation(text)):
        kind = token.lastgroup
        if kind in ("stop", "pause"):
            if words:
                words[-1] = words[-1]._replace(ends_clause=True)
            if kind == "stop" and words:
                yield words
                words = []
        elif kind != "other" or sum(unicodedata.category(m)[0] in "LM" for m in token[0]) > 1:
            words.append(Word(token[0], Script(str(kind)), False))
    if words:
        yield words


def _without_notation(text: str) -> str:
    """Return the text without formulas, code, URLs and tags, each letter in one code point."""
    if not text.isascii():
        text = _LONG_ACCENTS.sub(r"\1", _INVISIBLE.sub("", text))  # normalize is quadratic in them
        if not unicodedata.is_normalized("NFC", text):
            text = unicodedata.normalize("NFC", text)
        text = _NO_LETTERS.sub(" ", text)
    return " ".join(_kept(text))


def _kept(text: str) -> Iterator[str]:
    """Yield the pieces between what is removed, in linear time."""
    position = kept_from = 0
    missing: set[str] = set()  # closing marks that do not occur: searched for only once
    braces = _matching_braces(text) if "\\" in text else {}
    while (opening := _OPENING.search(text, position)) is not None:
        if opening.lastgroup == "command":
            end: int | None = _end_of_arguments(text, opening.end(), braces)
        else:
            end = _end_of(text, opening, missing)
        position = opening.end() if end is None else end
        if end is not None:
            yield text[kept_from : opening.start()]
            kept_from = end
    yield text[kept_from:]


def _end_of(text: str, opening: re.Match[str], missing: set[str]) -> int | None:
    """Return the end of the piece to remove; None: keep it."""
    mark, start = opening[0], opening.end()
    kind = opening.lastgroup
    if kind in (None, "url", "tag"):
        return start
    if mark == "$":
        return _end_of_dollars(text, start)
    closing = _CLOSING.get(mark, mark)
    end = -1 if closing in missing else text.find(closing, start)
    if end < 0:
        missing.add(closing)
        return len(text) if kind == "fence" else None
    spans_paragraphs = kind == "code" and "\n\n" in text[start:end]
    return None if spans_paragraphs else end + len(closing)


def _end_of_dollars(text: str, start: int) -> int | None:
    """Return the end of `$x + 1$`; None for a currency: "$5 and $6", "5 $"."""
    if text[start : start + 1].isspace():
        return None
    end = text.find("$", start)
    while end > 0 and text[end - 1] == "\\":
        end = text.find("$", end + 1)
    if end < 0 or text[end - 1].isspace() or text[end + 1 : end + 2].isdigit():
        return None
    return None if "\n\n" in text[start:end] else end + 1


def _end_of_arguments(text: str, start: int, braces: Mapping[int, int]) -> int:
    """Return the end of `{...}` and `[...]` after a command; `start` where they do not close."""
    while True:
        end = text.find("]", start, start + 80) if text[start : start + 1] == "[" else None
        end = braces.get(start) if end is None else end
        if end is None or end < 0:
            return start
        start = end + 1


def _matching_braces(text: str) -> dict[int, int]:
    """Return the position of the closing brace of each opening one."""
    opened: list[int] = []
    closed: dict[int, int] = {}
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closed[opened.pop()] = brace.start()
    return closed
