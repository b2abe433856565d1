"""A teacher for tests: a real HTTP server on loopback whose script decides on replies and failures.

with LoopbackTeacher(lambda ask: Says("5", thought="2 and 3")) as server:
    server.url, server.num_calls, server.most_in_flight
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

USAGE = {"prompt_tokens": 11, "completion_tokens": 20}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A received call."""

    number: int  # from 1, over all calls
    time_of_text: int  # from 1, over calls with this text
    text: str  # of the last user message
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Says:
    """A chat completion."""

    content: str
    thought: str | None = None
    style: str = "split"  # split, reasoning, inline, opened (no opening tag)
    finish_reason: str | None = "stop"
    usage: Mapping[str, Any] | None = field(default_factory=lambda: dict(USAGE))

    @property
    def message(self) -> dict[str, Any]:
        if self.thought is None:
            return {"role": "assistant", "content": self.content}
        if self.style == "inline":
            text = f"<think>\n{self.thought}\n</think>\n\n{self.content}"
            return {"role": "assistant", "content": text}
        if self.style == "opened":
            text = f"{self.thought}\n</think>\n\n{self.content}"
            return {"role": "assistant", "content": text}
        key = "reasoning" if self.style == "reasoning" else "reasoning_content"
        return {"role": "assistant", "content": self.content, key: self.thought}


@dataclass(frozen=True, slots=True)
class Fails:
    """A status other than 200."""

    status: int
    message: str = "the server is not well"
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Junk:
    """Status 200 with a body that is not a chat completion."""

    body: str = '{"choices": [{"mess'


@dataclass(frozen=True, slots=True)
class Hangs:
    """No answer for as long as the server lives."""


@dataclass(frozen=True, slots=True)
class HalfCloses:
    """Half of an answer, and the connection is closed."""


@dataclass(frozen=True, slots=True)
class Resets:
    """The connection is reset before any answer."""


Script = Callable[[Ask], Says | Fails | Junk | Hangs | HalfCloses | Resets]


class LoopbackTeacher:
    """Answers POST /v1/chat/completions by its script, a thread for each call."""

    def __init__(self, script: Script, *, latency_s: float = 0.0) -> None:
        self.script = script
        self.latency_s = latency_s
        self.asks: list[Ask] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._texts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def num_calls(self) -> int:
        return len(self.asks)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse further connections; allowed at any time."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        ask = self._noted(body, {name.title(): text for name, text in handler.headers.items()})
        time.sleep(self.latency_s)
        try:
            _send(handler, self.script(ask), self._over)
        except OSError:
            pass  # the client has gone
        finally:
            with self._lock:
                self._in_flight -= 1

    def _noted(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Ask:
        text = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
        with self._lock:
            self._texts[text] += 1
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            ask = Ask(
                number=len(self.asks) + 1,
                time_of_text=self._texts[text],
                text=text,
                body=body,
                headers=headers,
            )
            self.asks.append(ask)
        return ask


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler_of(teacher: LoopbackTeacher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if self.path != "/v1/chat/completions":
                self.send_error(404)
                return
            teacher.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _send(handler: BaseHTTPRequestHandler, reply: object, over: threading.Event) -> None:
    if isinstance(reply, Hangs):
        over.wait()
        handler.close_connection = True
    elif isinstance(reply, Resets):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        handler.connection.close()
        handler.close_connection = True
    elif isinstance(reply, HalfCloses):
        _respond(handler, 200, b'{"choices": [', length=4000)
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
    elif isinstance(reply, Junk):
        _respond(handler, 200, reply.body.encode())
    elif isinstance(reply, Fails):
        body = json.dumps({"error": {"message": reply.message}}).encode()
        _respond(handler, reply.status, body, retry_after=reply.retry_after)
    elif isinstance(reply, Says):
        choice = {"index": 0, "message": reply.message, "finish_reason": reply.finish_reason}
        completion = {"object": "chat.completion", "choices": [choice], "usage": reply.usage}
        _respond(handler, 200, json.dumps(completion).encode())


def _respond(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    *,
    length: int | None = None,
    retry_after: str | None = None,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(length or len(body)))
    if retry_after is not None:
        handler.send_header("Retry-After", retry_after)
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()
