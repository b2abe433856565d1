"""`rlvr chat`: chat with a model folder or an OpenAI-compatible address, in a terminal or a pipe.

> 2+3?                      /new starts a new conversation, /exit or the end of the input ends it
2 and 3 are 5 (dimmed)
5
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO

from rlvr.cluster.processes import check_packages
from rlvr.errors import RLVRError
from rlvr.serving import served
from rlvr.serving.conversation import Conversation, first_model
from rlvr.serving.folder_recipe import load_values, model_recipe
from rlvr.serving.serve_config import ChatConfig
from rlvr.serving.thought_stream import Piece

__all__ = ["chat", "run_chat"]

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def run_chat(recipe: str, overrides: Sequence[str]) -> int:
    """Run the command and return its exit status; `recipe` is a folder or http://HOST:PORT/v1.

    Raises:
        RLVRError: the user's input is wrong, or the server does not start.
    """
    values: dict[str, Any] = {}
    if not recipe.startswith(("http://", "https://")):
        values = {key: model_recipe(recipe)[key] for key in ("model", "prompt")}
    config = load_values(ChatConfig, values, overrides, source=recipe)
    try:
        with _address(recipe, config) as url:
            model = config.model_name or first_model(url)
            sampling = {"temperature": config.temperature, "max_tokens": config.max_tokens}
            new = partial(Conversation, url, model=model, sampling=sampling, system=config.system)
            chat(new, lines=sys.stdin, out=sys.stdout, hide_thought=config.hide_thought)
    except KeyboardInterrupt:
        print()
    return 0


@contextmanager
def _address(recipe: str, config: ChatConfig) -> Iterator[str]:
    """Yield the given address, or that of a server that is stopped afterwards."""
    if config.model is None:
        yield recipe.rstrip("/")
        return
    check_packages()
    print(f"starting vLLM with {config.model.path}, which takes a minute or so", file=sys.stderr)
    with served(
        config.model.path,
        template=config.prompt.template,
        system=config.prompt.system,
        prefill=config.prompt.prefill,
        dtype=config.model.dtype,
        max_model_tokens=config.max_model_tokens,
    ) as url:
        yield url


def chat(
    new_conversation: Callable[[], Conversation],
    *,
    lines: Iterable[str],
    out: TextIO,
    hide_thought: bool,
) -> None:
    """Answer each line until /exit or the last one; errors are printed and the chat continues."""
    conversation = new_conversation()
    cursor = "> " if out.isatty() else ""
    _write(out, cursor)
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
        _write(out, cursor)


def _show(pieces: Iterable[Piece], out: TextIO, *, hide_thought: bool) -> None:
    """Print a reply as it arrives: reasoning is dimmed in a terminal and tagged in a pipe."""
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
