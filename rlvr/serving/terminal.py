"""A chat in a terminal or a pipe: a line in, a reply out, the thought dimmed or hidden.

> 2+3?                      /new forgets what was said, /exit (or the end of the input) ends it
2 and 3 are 5 (dimmed)
5
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TextIO

from rlvr.errors import RLVRError
from rlvr.serving.conversation import Conversation
from rlvr.serving.thought_stream import Piece

__all__ = ["chat"]

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
PROMPT = "> "


def chat(
    new_conversation: Callable[[], Conversation],
    *,
    lines: Iterable[str],
    out: TextIO,
    hide_thought: bool,
) -> None:
    """Until /exit or the last line. An error is said, and the next line goes on."""
    conversation = new_conversation()
    is_terminal = out.isatty()
    _write(out, PROMPT if is_terminal else "")
    for line in lines:
        text = line.strip()
        if text == "/exit":
            return
        if text == "/new":
            conversation = new_conversation()
        elif text:
            try:
                _show(conversation.ask(text), out, hide_thought=hide_thought)
            except RLVRError as error:
                _write(out, f"\n{error}\n")
        _write(out, PROMPT if is_terminal else "")


def _show(pieces: Iterable[Piece], out: TextIO, *, hide_thought: bool) -> None:
    """In a terminal the thought is dimmed; in a pipe it stands in its tags."""
    opening, closing = (DIM, PLAIN + "\n") if out.isatty() else ("<think>", "</think>\n")
    in_thought = False
    for piece in pieces:
        if piece.is_thought and hide_thought:
            continue
        if piece.is_thought != in_thought:
            _write(out, opening if piece.is_thought else closing)
            in_thought = piece.is_thought
        _write(out, piece.text)
    _write(out, closing if in_thought else "\n")


def _write(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()
