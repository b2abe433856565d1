"""Run the program of a payload inside a job, after every restriction is on.

payload {"mode": "script" | "calls" | "serve" | "judge" | "exec", ...}

The program controls everything that runs here: results are data, never a verdict.
"""

from __future__ import annotations

import atexit
import builtins
import json
import os
import re
import struct
import sys
import threading
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, NoReturn

from sandbox.inside.protocol import FIRST_EXTRA_FD, PHASE_RUNS, RESULT_FD
from sandbox.literals import decode, encode

__all__ = ["run_payload"]

_FUNCTION = re.compile(r"(?:(\w+)\(\)\.)?(\w+)")
_FILE = "main.py"
_FRAME = struct.Struct("=I")


def run_payload(payload: dict[str, Any], phase: int) -> NoReturn:
    """Run the program and end the process with its exit status.

    `phase` is a pipe that reports progress to the worker; it is closed before the program's first
    instruction.
    """
    status = 1
    try:
        code = None
        if "code" in payload:
            code = compile(payload["code"], _FILE, "exec", dont_inherit=True)
        os.write(phase, PHASE_RUNS)
        os.close(phase)
        _MODES[payload["mode"]](payload, code)
        status = 0
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            status = error.code or 0
        else:
            print(error.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _end(status)


def _end(status: int) -> NoReturn:
    """Finalize as the interpreter does, without tearing it down."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        status = status or 1
    finally:
        os._exit(status & 0xFF)


def _script(payload: dict[str, Any], code: CodeType) -> None:
    sys.argv[:] = payload.get("argv", [_FILE])
    _run_module("__main__", code)


def _run_module(name: str, code: CodeType, **names: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(__file__=_FILE, __builtins__=builtins, **names)
    sys.modules[name] = module
    exec(code, module.__dict__)
    return module


def _find_function(module: ModuleType, name: str) -> Callable[..., Any]:
    match = _FUNCTION.fullmatch(name)
    if not match:
        raise NameError(f"{name} is neither a function nor Class().method")
    owner: Any = getattr(module, match[1])() if match[1] else module
    function = getattr(owner, match[2])
    if not callable(function):
        raise TypeError(f"{name} is not a function")
    return function


def _calls(payload: dict[str, Any], code: CodeType) -> None:
    """Call a function with each list of arguments and send the values to the supervisor."""
    function = _find_function(_run_module("__solution__", code), payload["function"])
    for arguments in payload["calls"]:
        _write_frame(RESULT_FD, {"value": encode(function(*arguments))})


def _serve(payload: dict[str, Any], code: CodeType) -> None:
    """Answer calls from a judge in another sandbox until it closes the pipe.

    A result that is not a literal is kept here; the judge gets its number and may pass it back.
    """
    module = _run_module("__solution__", code)
    kept: list[Any] = []

    def keep(value: Any) -> dict[str, int]:
        kept.append(value)
        return {"kept": len(kept) - 1}

    while (request := _read_frame(FIRST_EXTRA_FD)) is not None:
        try:
            arguments, keywords = (
                decode(request[name], other=lambda data: kept[data["kept"]])
                for name in ("args", "keywords")
            )
            value = _find_function(module, request["function"])(*arguments, **keywords)
            answer = {"value": encode(value, other=keep)}
        except Exception as error:
            answer = {"error": type(error).__name__, "text": str(error)[:1000]}
        _write_frame(FIRST_EXTRA_FD + 1, answer)


class _Kept:
    """In a judge: an object that is kept by the solution."""

    def __init__(self, data: dict[str, int]) -> None:
        self.data = data


def _judge(payload: dict[str, Any], code: CodeType) -> None:
    """Run tests that call the solution in another sandbox."""
    names = {name: _remote_function(name) for name in payload["functions"]}
    _run_module("__main__", code, **names)
    _write_frame(RESULT_FD, {"value": True})


def _remote_function(name: str) -> Callable[..., Any]:
    def function(*arguments: Any, **keywords: Any) -> Any:
        request = {
            "args": encode(arguments, other=lambda value: value.data),
            "keywords": encode(keywords, other=lambda value: value.data),
            "function": name,
        }
        _write_frame(FIRST_EXTRA_FD + 1, request)
        answer = _read_frame(FIRST_EXTRA_FD)
        if answer is None:
            raise RuntimeError("the solution has ended")
        if "value" in answer:
            return decode(answer["value"], other=_Kept)
        raise _make_error(str(answer.get("error")), str(answer.get("text")))

    function.__name__ = name
    return function


def _make_error(name: str, text: str) -> Exception:
    """Return the solution's exception if it is a built-in one, else a RuntimeError."""
    kind: Any = getattr(builtins, name, None)
    is_exception = isinstance(kind, type) and issubclass(kind, Exception)
    if is_exception and kind not in (StopIteration, StopAsyncIteration):  # these end loops silently
        return kind(text)
    return RuntimeError(f"{name}: {text}")


def _exec(payload: dict[str, Any], code: CodeType | None) -> None:
    """Replace this process by another program."""
    os.execve(payload.get("fd", payload["argv"][0]), payload["argv"], dict(os.environ))


def _write_frame(fd: int, value: Any) -> None:
    data = json.dumps(value).encode()
    data = _FRAME.pack(len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def _read_frame(fd: int) -> Any:
    """Return the decoded frame, or None if the other side has ended."""
    size, data = _FRAME.size, b""
    while len(data) < size:
        chunk = os.read(fd, min(size - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
        if len(data) == _FRAME.size == size:
            size += _FRAME.unpack(data)[0]
    return json.loads(data[_FRAME.size :])


_MODES: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "calls": _calls,
    "exec": _exec,
    "judge": _judge,
    "script": _script,
    "serve": _serve,
}
