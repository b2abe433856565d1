"""`rlvr chat`: chat with a model folder or an OpenAI-compatible address, in a terminal or a pipe.

> 2+3?                      /new starts a new conversation, /exit or the end of the input ends it
2 and 3 are 5 (dimmed)
5
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from rlvr.cluster.processes import check_packages
from rlvr.config import load_config
from rlvr.config.sections import ModelSection
from rlvr.data.model_copy import MODEL_COPY, hold_model
from rlvr.data.model_files import check_model
from rlvr.errors import ConfigError, RLVRError, one_line
from rlvr.run.checkpoints import run_of
from rlvr.serving import served
from rlvr.serving.serve_config import ChatConfig, model_recipe
from rlvr.serving.thought_stream import Piece, ThoughtSplitter

__all__ = ["Conversation", "chat", "first_model", "run_chat"]

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
KEY_ENV = "OPENAI_API_KEY"  # sent if it is set
SILENCE_S = 600.0  # between two reads of a reply


def run_chat(recipe: str, overrides: Sequence[str]) -> int:
    """Run the command and return its exit status; `recipe` names a model or is http://HOST:PORT/v1.

    Raises:
        RLVRError: the user's input is wrong, or the server does not start.
    """
    values: dict[str, Any] = {}
    if not recipe.startswith(("http://", "https://")):
        values = {key: model_recipe(recipe)[key] for key in ("model", "prompt")}
    config = load_config(ChatConfig, recipe, overrides, values=values)
    try:
        with _address(recipe, config) as url:
            model = config.model_name or first_model(url)
            sampling = {"temperature": config.temperature, "max_tokens": config.max_tokens}
            new = partial(Conversation, url, model=model, sampling=sampling, system=config.system)
            chat(new, lines=sys.stdin, out=sys.stdout, hide_thought=config.hide_thought)
    except KeyboardInterrupt:
        print()
    return 0


def _address(recipe: str, config: ChatConfig) -> AbstractContextManager[str]:
    """Return a context of the given address, or of a server that is stopped afterwards."""
    if config.model is None:
        return nullcontext(recipe.rstrip("/"))
    check_packages()
    return _served(config, config.model)


@contextmanager
def _served(config: ChatConfig, model: ModelSection) -> Iterator[str]:
    """Serve a model, from a copy for the time of the chat if `hold_model` makes one."""
    found = Path(check_model(model.path, allow_adapter=True))
    run = run_of(found.resolve())
    run = run if run is not None and os.access(run, os.W_OK) else None
    say = partial(print, file=sys.stderr)
    with TemporaryDirectory(prefix=".chat-", dir=run) as folder:  # on the disk of the checkpoint
        copy = Path(folder) / MODEL_COPY
        path = hold_model(
            model.path,
            copy=copy,
            dtype=model.dtype,
            trust_remote_code=model.trust_remote_code,
            say=say,
        )
        say(f"starting vLLM with {model.path}, which takes a minute or so")
        with served(
            path,
            template=config.prompt.template,
            system=config.prompt.system,
            prefill=config.prompt.prefill,
            dtype=model.dtype,
            max_model_tokens=config.max_model_tokens,
            log=run / "logs" / "server.log" if run else None,
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


class Conversation:
    """A conversation with an OpenAI-compatible server at `url`, such as http://127.0.0.1:8000/v1.

    Reasoning of earlier turns is not sent back: models are trained without it in the prompt, and
    DeepSeek's API answers 400 to a message with `reasoning_content`.
    """

    def __init__(
        self, url: str, *, model: str, sampling: Mapping[str, Any], system: str | None = None
    ) -> None:
        self._url = url
        self._parameters = {"model": model, "stream": True, **sampling}
        self.messages = [] if system is None else [{"role": "system", "content": system}]

    def ask(self, text: str) -> Iterator[Piece]:
        """Yield the pieces of the reply; after the last one, add the turn to `messages`.

        Raises:
            ConfigError: the server does not answer, or answers with an error.
            RLVRError: the reply broke off.
        """
        messages = [*self.messages, {"role": "user", "content": text}]
        answer = ""
        with _open(
            f"{self._url}/chat/completions", {"messages": messages, **self._parameters}
        ) as reply:
            for piece in _pieces(_deltas(reply)):
                answer += "" if piece.is_thought else piece.text
                yield piece
        self.messages = [*messages, {"role": "assistant", "content": answer.strip()}]


def first_model(url: str) -> str:
    """Return the name of the server's first model. Raises ConfigError if it does not answer."""
    with _open(f"{url}/models") as reply:
        try:
            return str(json.load(reply)["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            raise ConfigError(f"{url}: lists no model; give one with model_name=NAME") from None


def _open(url: str, body: Mapping[str, Any] | None = None) -> http.client.HTTPResponse:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_ENV):
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        reply: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=SILENCE_S)
    except urllib.error.HTTPError as error:
        with error:
            message = one_line(error.read(500).decode(errors="replace"))
        raise ConfigError(f"{url}: answers {error.code}: {message}") from None
    except (urllib.error.URLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(f"{url}: no answer ({reason}); is the server running?") from None
    return reply


def _deltas(reply: http.client.HTTPResponse) -> Iterator[Mapping[str, Any]]:
    """Yield the deltas of a stream. Raises RLVRError if it ends early."""
    is_complete = False
    try:
        for line in reply:
            data = line.removeprefix(b"data:").strip()
            is_complete = is_complete or data == b"[DONE]"
            if data.startswith(b"{"):
                for choice in json.loads(data).get("choices") or ():
                    yield choice.get("delta") or {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RLVRError(f"the reply broke off: {error}") from None
    if not is_complete:
        raise RLVRError("the reply broke off")


def _pieces(deltas: Iterable[Mapping[str, Any]]) -> Iterator[Piece]:
    """Split reasoning and answer, also if the server leaves the tags in the text."""
    splitter = ThoughtSplitter()
    for delta in deltas:
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            yield Piece(True, str(thought))
        yield from splitter.feed(str(delta.get("content") or ""))
    yield from splitter.finish()
