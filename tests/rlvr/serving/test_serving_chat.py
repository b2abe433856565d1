"""A chat with a scripted server that answers 400 if reasoning is sent back."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rlvr.cli import main
from rlvr.errors import ConfigError
from rlvr.serving.chat_command import Conversation, chat, first_model

pytestmark = pytest.mark.slow  # a server is started

APART = [{"reasoning": "2 and 3"}, {"reasoning": " are 5"}, {"content": "\nfive"}, {}]
INLINE = [{"content": "<thi"}, {"content": "nk>2 and 3 are 5</think>\nfi"}, {"content": "ve"}]


@contextmanager
def serving(deltas: list[dict[str, str]], *, ends: bool = True) -> Iterator[tuple[str, list[Any]]]:
    """Yield the address and the request bodies."""
    bodies: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, json.dumps({"data": [{"id": "tiny"}]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            if any("reasoning_content" in message for message in body["messages"]):
                return self._send(400, "reasoning_content is not taken back")
            lines = [f"data: {json.dumps({'choices': [{'delta': d}]})}\n\n" for d in deltas]
            self._send(200, "".join(lines) + ("data: [DONE]\n\n" if ends else ""))

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", bodies
        finally:
            server.shutdown()
            thread.join()


def transcript(url: str, *lines: str, hide_thought: bool = False) -> str:
    out = io.StringIO()
    chat(
        lambda: Conversation(url, model="tiny", sampling={"temperature": 0.6}),
        lines=[f"{line}\n" for line in lines],
        out=out,
        hide_thought=hide_thought,
    )
    return out.getvalue()


@pytest.mark.parametrize("deltas", [APART, INLINE])
def test_the_thought_is_shown_or_hidden(deltas: list[dict[str, str]]) -> None:
    with serving(deltas) as (url, _):
        assert transcript(url, "2+3?") == "<think>2 and 3 are 5</think>\n\nfive\n"
        assert transcript(url, "2+3?", hide_thought=True) == "\nfive\n"


@pytest.mark.parametrize("deltas", [APART, INLINE])
def test_earlier_turns_are_sent_without_reasoning(deltas: list[dict[str, str]]) -> None:
    with serving(deltas) as (url, bodies):
        transcript(url, "2+3?", "", "and 1?", "/new", "hello", "/exit", "not this")
    assert [body["messages"] for body in bodies] == [
        [{"role": "user", "content": "2+3?"}],
        [
            {"role": "user", "content": "2+3?"},
            {"role": "assistant", "content": "five"},
            {"role": "user", "content": "and 1?"},
        ],
        [{"role": "user", "content": "hello"}],
    ]
    assert bodies[0]["stream"] is True


def test_an_incomplete_reply_is_reported_and_forgotten() -> None:
    with serving(APART, ends=False) as (url, bodies):
        assert transcript(url, "2+3?", "again").count("the reply broke off") == 2
    assert [len(body["messages"]) for body in bodies] == [1, 1]


def test_an_address_is_asked_for_its_model() -> None:
    with serving([]) as (url, _):
        assert first_model(url) == "tiny"
    with pytest.raises(ConfigError, match="no answer"):
        first_model(url)


def test_the_command_reads_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("2+3?\n/exit\n"))
    with serving(APART) as (url, bodies):
        assert main(["chat", url, "hide_thought=true", "temperature=0"]) == 0
    assert capsys.readouterr().out == "\nfive\n"
    assert (bodies[0]["model"], bodies[0]["temperature"]) == ("tiny", 0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["chat", "no/such/folder"], "model.path: no directory no/such/folder"),
        (["chat", "http://127.0.0.1:9/v1"], "no answer"),
        (["chat", "http://127.0.0.1:9/v1", "hide=true"], "unknown key hide; did you mean"),
    ],
)
def test_an_input_error_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
