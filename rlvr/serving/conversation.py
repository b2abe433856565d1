"""A streaming conversation with an OpenAI-compatible server.

Reasoning of earlier turns is not sent back: models are trained without it in the prompt, and
DeepSeek's API answers 400 to a message with `reasoning_content`.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rlvr.errors import ConfigError, RLVRError, one_line
from rlvr.serving.thought_stream import Piece, ThoughtSplitter

__all__ = ["Conversation", "first_model"]

KEY_ENV = "OPENAI_API_KEY"  # sent if it is set
SILENCE_S = 600.0  # between two reads of a reply


class Conversation:
    """`Conversation("http://127.0.0.1:8000/v1", model="model", sampling={"temperature": 0.6})`."""

    def __init__(
        self, url: str, *, model: str, sampling: Mapping[str, Any], system: str | None = None
    ) -> None:
        self._url = url
        self._model = model
        self._sampling = dict(sampling)
        self.messages: list[dict[str, str]] = []
        if system is not None:
            self.messages.append({"role": "system", "content": system})

    def ask(self, text: str) -> Iterator[Piece]:
        """Yield the pieces of the reply; after the last one, add the turn to `messages`.

        Raises:
            ConfigError: the server does not answer, or answers with an error.
            RLVRError: the reply broke off.
        """
        messages = [*self.messages, {"role": "user", "content": text}]
        body = {"model": self._model, "messages": messages, "stream": True, **self._sampling}
        answer = ""
        with _open(f"{self._url}/chat/completions", body) as reply:
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
