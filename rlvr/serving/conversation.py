"""A conversation with an OpenAI-compatible address: what is sent, and what comes back in pieces.

Thoughts of earlier turns are not sent back: models are trained without them in the prompt, and
DeepSeek's own API answers 400 to a message with `reasoning_content`.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rlvr.errors import ConfigError, RLVRError
from rlvr.serving.thought_stream import Piece, ThoughtSplitter

__all__ = ["Conversation", "first_model"]

KEY_ENV = "OPENAI_API_KEY"  # sent where it is set; never shown
SILENCE_S = 600.0  # between two pieces of a reply


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
        """The pieces of the reply as they come; when all have come, the answer is remembered.

        Raises:
            ConfigError: nobody is at the address, or it refuses; the question is forgotten.
            RLVRError: the reply broke off.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        body = {"model": self._model, "messages": asked, "stream": True, **self._sampling}
        answer = ""
        with _open(f"{self._url}/chat/completions", body) as reply:
            for piece in _pieces(_deltas(reply)):
                answer += "" if piece.is_thought else piece.text
                yield piece
        self.messages = [*asked, {"role": "assistant", "content": answer.strip()}]


def first_model(url: str) -> str:
    """What an address calls its (first) model. Raises ConfigError where nobody answers there."""
    with _open(f"{url}/models") as reply:
        try:
            return str(json.load(reply)["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            raise ConfigError(f"{url}: names no model; give one with model=NAME") from None


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
            said = " ".join(error.read(500).decode(errors="replace").split())
        raise ConfigError(f"{url}: answers {error.code}: {said}") from None
    except (urllib.error.URLError, ValueError, OSError) as error:
        why = getattr(error, "reason", error)
        raise ConfigError(f"{url}: nobody answers there ({why}); is the server running?") from None
    return reply


def _deltas(reply: http.client.HTTPResponse) -> Iterator[Mapping[str, Any]]:
    """The deltas of a stream; ends with it."""
    is_whole = False
    try:
        for line in reply:
            data = line.removeprefix(b"data:").strip()
            is_whole = is_whole or data == b"[DONE]"
            if data.startswith(b"{"):
                for choice in json.loads(data).get("choices") or ():
                    yield choice.get("delta") or {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RLVRError(f"the reply broke off: {error}") from None
    if not is_whole:
        raise RLVRError("the reply broke off")


def _pieces(deltas: Iterable[Mapping[str, Any]]) -> Iterator[Piece]:
    """Thought and answer; also of a server that leaves the tags in the text."""
    splitter = ThoughtSplitter()
    for delta in deltas:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            yield Piece(True, str(thought))
        yield from splitter.feed(str(delta.get("content") or ""))
    yield from splitter.finish()
