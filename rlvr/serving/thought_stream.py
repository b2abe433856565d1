"""Thought and answer of a text that comes piece by piece, by its tags and not by token ids.

vLLM's parser `deepseek_r1` looks for `<think>` among a tokenizer's tokens; where the tags are
written in several ordinary ones, as by Qwen2.5 or the toy tokenizer, it refuses to start.

    "<think>a", "b</th", "ink>c" --> thought "a", thought "b", answer "c"
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from rewards.transcript import CLOSE_THINK, OPEN_THINK

__all__ = ["Piece", "ThoughtSplitter", "split_thought"]


class Piece(NamedTuple):
    """Some text, and whose it is."""

    is_thought: bool
    text: str


class _Place(Enum):
    START = auto()  # nothing but white space has come
    BEFORE = auto()  # text, and a thought may follow
    THOUGHT = auto()
    ANSWER = auto()


class ThoughtSplitter:
    """Of one completion; what could be the beginning of a tag is held back until it is clear.

    The first thought counts: tags behind its end are text of the answer, so that a reply with two
    thoughts is not made to look well-formed.
    """

    def __init__(self, *, think_prefilled: bool = False) -> None:
        self._think_prefilled = think_prefilled
        self._place = _Place.START
        self._held = ""

    def feed(self, text: str) -> list[Piece]:
        """What is clear now."""
        self._held += text
        pieces: list[Piece] = []
        while (piece := self._next()) is not None:
            pieces.append(piece)
        return [piece for piece in pieces if piece.text]

    def finish(self) -> list[Piece]:
        """What was held back: no tag came of it."""
        held, self._held = self._held, ""
        return [self._piece(held)] if held else []

    def _next(self) -> Piece | None:
        """Take the next piece off what is held; None where more must come first."""
        if self._place is _Place.START:
            return self._start()
        tag = {_Place.BEFORE: OPEN_THINK, _Place.THOUGHT: CLOSE_THINK}.get(self._place)
        before, found, after = self._held.partition(tag) if tag else (self._held, "", "")
        if not found:
            size = len(before) - (_num_open(before, tag) if tag else 0)
            self._held = before[size:]
            return self._piece(before[:size]) if size else None
        piece = self._piece(before)
        self._held = after
        self._place = _Place.THOUGHT if tag == OPEN_THINK else _Place.ANSWER
        return piece

    def _start(self) -> Piece | None:
        """An opening tag comes first, or the text has none there."""
        said = self._held.lstrip()
        if OPEN_THINK.startswith(said):
            if said != OPEN_THINK:
                return None
            self._held, self._place = "", _Place.THOUGHT
        elif said.startswith(OPEN_THINK):
            self._held, self._place = said[len(OPEN_THINK) :], _Place.THOUGHT
        else:
            self._place = _Place.THOUGHT if self._think_prefilled else _Place.BEFORE
        return Piece(False, "")

    def _piece(self, text: str) -> Piece:
        is_open = self._place is _Place.START and self._think_prefilled
        return Piece(self._place is _Place.THOUGHT or is_open, text)


def split_thought(text: str, *, think_prefilled: bool = False) -> tuple[str | None, str]:
    """Thought (None: there is none) and answer of a whole text.

    A closing tag alone has a thought before it: the template had opened it.

        split_thought("a</think>b") == ("a", "b")
    """
    before, closed, _ = text.partition(CLOSE_THINK)
    is_open = think_prefilled or (bool(closed) and OPEN_THINK not in before)
    splitter = ThoughtSplitter(think_prefilled=is_open)
    pieces = [*splitter.feed(text), *splitter.finish()]
    thought = "".join(piece.text for piece in pieces if piece.is_thought)
    answer = "".join(piece.text for piece in pieces if not piece.is_thought)
    return thought if is_open or OPEN_THINK in text else None, answer


def _num_open(text: str, tag: str) -> int:
    """Characters at the end of a text that may become the tag."""
    sizes = range(min(len(text), len(tag) - 1), 0, -1)
    return next((size for size in sizes if tag.startswith(text[-size:])), 0)
