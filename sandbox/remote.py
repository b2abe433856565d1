"""The remote tier: a server with SandboxFusion's POST /run_code.

Expected values stay in this process. Every network or protocol error is internal_error, and so is
an output that the server may have truncated. The isolation is the server's responsibility.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sandbox.jobs import Program
from sandbox.languages import Language
from sandbox.literals import encode
from sandbox.verdicts import Limits, RunResult, SandboxUnavailable, Verdict

__all__ = ["Remote"]

_ANSWER_BYTES = 64 << 20
_TRUNCATED_BYTES = 160_000  # such servers have been seen to drop the rest
_FRAME_FILE = "result.frame"
_CALL: Final = """
import json, os, re, struct, sys, types
literals = types.ModuleType("literals"); exec(open("literals_.py").read(), literals.__dict__)
request = json.load(open("call_.json"))
for name in ("literals_.py", "call_.json"):
    os.remove(name)
module = types.ModuleType("__solution__"); sys.modules["__solution__"] = module
exec(compile(request["code"], "main.py", "exec"), module.__dict__)
owner, _, name = request["function"].rpartition("().")
target = getattr(module, owner)() if owner else module
value = getattr(target, name)(*literals.decode(request["args"]))
data = json.dumps({"value": literals.encode(value)}).encode()
open("result.frame", "wb").write(struct.pack("=I", len(data)) + data)
"""


class Remote:
    """A client of the server; thread-safe."""

    can_call_in_a_row = False

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise SandboxUnavailable(f"SANDBOX_URL is {url!r}; allowed: http(s)://HOST[:PORT]")
        self._url = url.rstrip("/") + "/run_code"

    def build(self, code: str, language: Language, files: Mapping[str, bytes]) -> Program:
        """Return the program as it is: the server compiles it in each run."""
        name = "nodejs" if language.name == "javascript" else language.name
        return Program(payload={"mode": "script", "code": code, "language": name}, files=files)

    def execute(
        self, program: Program, *, stdin: bytes = b"", limits: Limits, collect: Sequence[str] = ()
    ) -> RunResult:
        try:
            answer = self._ask(_request(program, stdin, limits, collect), limits)
            return _read_answer(answer, limits, is_call=program.payload["mode"] == "calls")
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
            text = f"the server {self._url}: {type(error).__name__}: {error!s:.200}"
            return RunResult(verdict=Verdict.INTERNAL_ERROR, reason=text)

    def run_tests(self, code: str, tests: Mapping[str, Any], limits: Limits) -> RunResult:
        reason = "tests that call the solution from another sandbox need a local tier"
        return RunResult(verdict=Verdict.INTERNAL_ERROR, reason=reason)

    def _ask(self, body: Mapping[str, Any], limits: Limits) -> Mapping[str, Any]:
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        timeout_s = 2 * (limits.wall_s + limits.grace_s) + 30
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            answer = json.loads(reply.read(_ANSWER_BYTES))
        if not isinstance(answer, dict):
            raise ValueError("the answer is not a JSON object")
        return answer


def _request(
    program: Program, stdin: bytes, limits: Limits, collect: Sequence[str]
) -> dict[str, Any]:
    files, wanted = dict(program.files), list(collect)
    code, language = program.payload["code"], program.payload.get("language", "python")
    if program.payload["mode"] == "calls":
        source = Path(__file__).with_name("literals.py").read_bytes()
        [arguments] = program.payload["calls"]
        call = {"code": code, "function": program.payload["function"], "args": encode(arguments)}
        files |= {"literals_.py": source, "call_.json": json.dumps(call).encode()}
        code, wanted = _CALL, [_FRAME_FILE]
    return {
        "code": code,
        "language": language,
        "stdin": stdin.decode("utf-8", "surrogateescape"),
        "compile_timeout": limits.wall_s,
        "run_timeout": limits.wall_s,
        "memory_limit_MB": max(1, limits.memory_bytes >> 20),
        "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
        "fetch_files": wanted,
    }


def _read_answer(answer: Mapping[str, Any], limits: Limits, *, is_call: bool) -> RunResult:
    """Raises KeyError, TypeError or ValueError for an answer that violates the protocol."""
    compiled, run = answer.get("compile_result"), answer.get("run_result")
    if answer["status"] != "SandboxError" and compiled and compiled["status"] != "Finished":
        return RunResult(
            verdict=Verdict.COMPILE_ERROR, reason=str(compiled.get("stderr") or "")[:1000]
        )
    if answer["status"] == "SandboxError" or run is None:
        raise ValueError(f"{answer['status']}: {answer.get('message')!s:.200}")
    stdout, stderr = (str(run.get(name) or "").encode() for name in ("stdout", "stderr"))
    verdict, reason = _verdict(run, stdout, stderr, limits)
    files = {name: base64.b64decode(data) for name, data in (answer.get("files") or {}).items()}
    return RunResult(
        verdict=verdict,
        reason=reason,
        stdout=stdout[: limits.output_bytes],
        stderr=stderr[: limits.output_bytes],
        exit_code=run.get("return_code"),
        wall_s=float(run.get("execution_time") or 0.0),
        frame=files.pop(_FRAME_FILE, b"") if is_call else b"",
        files=files,
    )


def _verdict(
    run: Mapping[str, Any], stdout: bytes, stderr: bytes, limits: Limits
) -> tuple[Verdict, str]:
    if run["status"] == "TimeLimitExceeded":
        return Verdict.TIME_LIMIT, f"more than {limits.wall_s:g} s"
    if run["status"] not in ("Finished", "Error"):
        raise ValueError(f"run_result.status is {run['status']!r}")
    if len(stdout) > limits.output_bytes or len(stderr) > limits.output_bytes:
        return Verdict.OUTPUT_LIMIT, f"more than {limits.output_bytes} bytes"
    if len(stdout) >= _TRUNCATED_BYTES:
        raise ValueError(f"an output of {len(stdout)} bytes may have been truncated")
    if run.get("return_code") == 0:
        return Verdict.ACCEPTED, ""
    if b"MemoryError" in stderr[-4000:]:
        return Verdict.MEMORY_LIMIT, "out of memory"
    last = stderr.decode(errors="replace").rstrip().rpartition("\n")[2][:200]
    return Verdict.RUNTIME_ERROR, f"exit code {run.get('return_code')}: {last}"
