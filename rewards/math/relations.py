r"""How conditions are joined in words: "x<-1 or x>1" is `x<-1\lor x>1`, "and" and 且 are \land."""

from __future__ import annotations

import re

__all__ = ["with_connectives"]

MAX_CHARS = 500

_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_WORD = r",? ?(?:\\(?:text|mathrm|mbox|quad|qquad)\{{[ ,]*(?:{0})[ ,]*\}}|\b(?:{0})\b|{1}) ?"
_OR = re.compile(_WORD.format("or|或|或者", r"或者?|\\lor(?![A-Za-z])"))
_AND = re.compile(_WORD.format("and|且|和", r"并?且|和|\\land(?![A-Za-z])"))


def with_connectives(text: str) -> str:
    r"""With \lor and \land for the words, where a relation is in a tidy text."""
    if len(text) > MAX_CHARS or not _RELATION.search(text):
        return text
    return _AND.sub(r"\\land ", _OR.sub(r"\\lor ", text))
