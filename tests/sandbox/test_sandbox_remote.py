"""The remote tier with a /run_code server on loopback that really runs the programs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sandbox import Limits, Verdict, run
from sandbox.compare import Tolerance
from sandbox.judging import judge as judge_on_backend
from sandbox.remote import Remote
from sandbox.verdicts import Judgement, SandboxUnavailable

pytestmark = pytest.mark.slow  # a server is started

STATUS = {Verdict.ACCEPTED: "Finished", Verdict.TIME_LIMIT: "TimeLimitExceeded"}


class Server(ThreadingHTTPServer):
    """`fault` answers instead of running anything; `asked` holds every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.fault: bytes | None = None
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        fault = self.server.fault
        answer = json.dumps(answer_to(body)).encode() if fault is None else fault
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


def answer_to(body: dict[str, Any]) -> dict[str, Any]:
    result = run(
        body["code"],
        language=body["language"],
        stdin=body["stdin"],
        files={name: base64.b64decode(data) for name, data in body["files"].items()},
        collect=body["fetch_files"],
        limits=Limits(wall_s=body["run_timeout"]),
    )
    if result.verdict is Verdict.COMPILE_ERROR and body["language"] != "python":
        failed = {"status": "Error", "stderr": result.reason}
        return {"status": "Failed", "compile_result": failed, "run_result": None}
    return {
        "status": "Success" if result.verdict is Verdict.ACCEPTED else "Failed",
        "compile_result": None,
        "run_result": {
            "status": STATUS.get(result.verdict, "Error"),
            "return_code": result.exit_code,
            "execution_time": result.wall_s,
            "stdout": result.stdout.decode(errors="replace"),
            "stderr": result.stderr.decode(errors="replace"),
        },
        "files": {n: base64.b64encode(data).decode() for n, data in result.files.items()},
    }


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(server: Server) -> Remote:
    return Remote(f"http://127.0.0.1:{server.server_port}")


def judge(remote: Remote, code: str, cases: Any, **options: Any) -> Judgement:
    return judge_on_backend(code, cases, backend=remote, **{"limits": Limits(wall_s=5), **options})


def test_programs_are_judged_here_by_what_they_did_there(remote: Remote, server: Server) -> None:
    case = [{"input": "21", "output": "secret 42"}]
    assert judge(remote, "print('secret', int(input()) * 2)", case).verdict is Verdict.ACCEPTED
    assert judge(remote, "print(1)", case).verdict is Verdict.WRONG_ANSWER
    assert judge(remote, "1 / 0", case).verdict is Verdict.RUNTIME_ERROR
    assert all("secret 42" not in json.dumps(body) for body in server.asked)


def test_functions_are_called_there_and_their_values_compared_here(remote: Remote) -> None:
    cases = [{"args": [{1: "x"}, 2], "output": ({1: "x"}, 2)}]
    good, bad = "def f(a, b): return (a, b)", "def f(a, b): return [a, b]"
    assert judge(remote, good, cases, function="f").verdict is Verdict.ACCEPTED
    assert judge(remote, bad, cases, function="f").verdict is Verdict.WRONG_ANSWER
    leaves = "import os\ndef f(a, b): os._exit(0)"
    assert judge(remote, leaves, cases, function="f").verdict is Verdict.RUNTIME_ERROR


def test_time_and_compilers_are_reported(remote: Remote) -> None:
    case = [{"input": "", "output": ""}]
    slow = judge(remote, "while True: pass", case, limits=Limits(wall_s=0.5))
    assert slow.verdict is Verdict.TIME_LIMIT
    assert judge(remote, "int main( {", case, language="c").verdict is Verdict.COMPILE_ERROR


@pytest.mark.parametrize(
    "fault",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"status": "SandboxError", "message": "no room"}',
        b'{"status": "Success", "run_result": null}',
        b'{"status": "Success", "run_result": {"status": "Dreaming"}}',
        json.dumps(
            {
                "status": "Success",
                "run_result": {"status": "Finished", "return_code": 0, "stdout": "x" * 160_000},
            }
        ).encode(),
    ],
)
def test_the_servers_faults_are_never_the_programs(
    remote: Remote, server: Server, fault: bytes
) -> None:
    server.fault = fault
    result = judge(remote, "print(1)", [{"input": "", "output": "1"}])
    assert result.verdict is Verdict.INTERNAL_ERROR
    assert "the server" in result.reason


def test_an_error_of_http_and_a_server_that_is_away_are_ours(
    remote: Remote, server: Server
) -> None:
    server.status = 503
    case = [{"input": "", "output": "1"}]
    assert judge(remote, "print(1)", case).verdict is Verdict.INTERNAL_ERROR
    away = Remote("http://127.0.0.1:9")
    assert judge(away, "print(1)", case).verdict is Verdict.INTERNAL_ERROR


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="SANDBOX_URL is 'ftp://x'"):
        Remote("ftp://x")
    assert Tolerance.of(None).holds(1.0, 1.0)
