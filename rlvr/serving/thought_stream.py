"""Split a stream of text into reasoning and answer, by the tags in the text.

vLLM's parser `deepseek_r1` finds the tags by token id; it does not start if the tokenizer encodes
a tag as several tokens, as those of Qwen2.5 and of the toy model do.

    "<think>a", "b</th", "ink>c" --> thought "a", thought "b", answer "c"
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from rewards.transcript import CLOSE_THINK, OPEN_THINK

__all__ = ["Piece", "ThoughtSplitter", "joined", "split_thought"]


class Piece(NamedTuple):
    """A piece of reasoning or answer."""

    is_thought: bool
    text: str


class _State(Enum):
    START = auto()  # nothing but white space so far
    BEFORE = auto()  # text; reasoning may follow
    THOUGHT = auto()
    ANSWER = auto()


class ThoughtSplitter:
    """Splitter for one completion; holds back text that may be the beginning of a tag.

    Only the first reasoning block counts: later tags are text of the answer, so that a malformed
    reply with two of them does not look well-formed.
    """

    def __init__(self, *, think_prefilled: bool = False) -> None:
        self._think_prefilled = think_prefilled
        self._state = _State.START
        self._held = ""

    def feed(self, text: str) -> list[Piece]:
        """Add text and return the pieces that are certain."""
        self._held += text
        pieces: list[Piece] = []
        while (piece := self._next()) is not None:
            pieces.append(piece)
        return [piece for piece in pieces if piece.text]

    def finish(self) -> list[Piece]:
        """Return the text that was held back and did not become a tag."""
        held, self._held = self._held, ""
        return [self._piece(held)] if held else []

    def _next(self) -> Piece | None:
        """Remove the next piece from the held text; None: more text is needed."""
        if self._state is _State.START:
            return self._start()
        tag = {_State.BEFORE: OPEN_THINK, _State.THOUGHT: CLOSE_THINK}.get(self._state)
        before, found, after = self._held.partition(tag) if tag else (self._held, "", "")
        if not found:
            size = len(before) - (_num_open(before, tag) if tag else 0)
            self._held = before[size:]
            return self._piece(before[:size]) if size else None
        piece = self._piece(before)
        self._held = after
        self._state = _State.THOUGHT if tag == OPEN_THINK else _State.ANSWER
        return piece

    def _start(self) -> Piece | None:
        """Leave the start state, unless the text may still become an opening tag."""
        text = self._held.lstrip()
        if text.startswith(OPEN_THINK):
            self._held, self._state = text[len(OPEN_THINK) :], _State.THOUGHT
        elif OPEN_THINK.startswith(text):
            return None
        else:
            self._state = _State.THOUGHT if self._think_prefilled else _State.BEFORE
        return Piece(False, "")

    def _piece(self, text: str) -> Piece:
        is_open = self._state is _State.START and self._think_prefilled
        return Piece(self._state is _State.THOUGHT or is_open, text)


def split_thought(text: str, *, think_prefilled: bool = False) -> tuple[str | None, str]:
    """Return reasoning (None: there is none) and answer of a whole text.

    A closing tag without an opening one ends reasoning that the template opened.

        split_thought("a</think>b") == ("a", "b")
    """
    before, closed, _ = text.partition(CLOSE_THINK)
    is_open = think_prefilled or (bool(closed) and OPEN_THINK not in before)
    splitter = ThoughtSplitter(think_prefilled=is_open)
    thought, answer = joined([*splitter.feed(text), *splitter.finish()])
    return thought if is_open or OPEN_THINK in text else None, answer


def joined(pieces: Sequence[Piece]) -> tuple[str, str]:
    """Return the reasoning and the answer that the pieces make up."""
    thought = "".join(piece.text for piece in pieces if piece.is_thought)
    return thought, "".join(piece.text for piece in pieces if not piece.is_thought)


def _num_open(text: str, tag: str) -> int:
    """Return the number of characters at the end of a text that may become the tag."""
    sizes = range(min(len(text), len(tag) - 1), 0, -1)
    return next((size for size in sizes if tag.startswith(text[-size:])), 0)
