"""Inside a job, after every restriction: run the program that the payload holds.

payload {"mode": "script" | "call" | "calls" | "serve" | "judge" | "exec", ...}

What runs here is in the hands of the program: its results are data, never a verdict.
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
    """Run it and end the process with the program's exit status.

    `phase`: a pipe to the worker that hears how far we came; closed before the program's first
    instruction.
    """
    status = 1
    try:
        code = _compiled(payload["code"]) if "code" in payload else None
        os.write(phase, PHASE_RUNS)
        os.close(phase)
        _MODES[payload["mode"]](payload, code)
        status = 0
    except SystemExit as leaving:
        status = _exit_status(leaving.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _end(status)


def _end(status: int) -> NoReturn:
    """What the interpreter does at its end, without taking itself apart."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        status = status or 1
    finally:
        os._exit(status & 0xFF)


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def _script(payload: dict[str, Any], code: CodeType) -> None:
    sys.argv[:] = payload.get("argv", [_FILE])
    _run_module("__main__", code)


def _compiled(code: str) -> CodeType:
    return compile(code, _FILE, "exec", dont_inherit=True)


def _run_module(name: str, code: CodeType, **names: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(__file__=_FILE, __builtins__=builtins, **names)
    sys.modules[name] = module
    exec(code, module.__dict__)
    return module


def _call(payload: dict[str, Any], code: CodeType) -> None:
    """One call of a function; its value goes to the supervisor."""
    function = _named(_run_module("__solution__", code), payload["function"])
    _write_frame(RESULT_FD, {"value": encode(function(*payload["args"]))})


def _named(module: ModuleType, name: str) -> Callable[..., Any]:
    match = _FUNCTION.fullmatch(name)
    if not match:
        raise NameError(f"{name} is neither a function nor Class().method")
    owner: Any = getattr(module, match[1])() if match[1] else module
    function = getattr(owner, match[2])
    if not callable(function):
        raise TypeError(f"{name} is not a function")
    return function


def _calls(payload: dict[str, Any], code: CodeType) -> None:
    """Calls in a row, in one process."""
    function = _named(_run_module("__solution__", code), payload["function"])
    for arguments in payload["calls"]:
        _write_frame(RESULT_FD, {"value": encode(function(*arguments))})


def _serve(payload: dict[str, Any], code: CodeType) -> None:
    """Answer calls that a judge in another sandbox makes, until it has no more.

    A result that is no literal stays here; the judge gets its number and may pass it back.
    """
    module = _run_module("__solution__", code)
    kept: list[Any] = []

    def keep(value: Any) -> dict[str, int]:
        kept.append(value)
        return {"kept": len(kept) - 1}

    def look_up(data: dict[str, int]) -> Any:
        return kept[data["kept"]]

    while (request := _read_frame(FIRST_EXTRA_FD)) is not None:
        try:
            arguments = decode(request["args"], other=look_up)
            keywords = decode(request["keywords"], other=look_up)
            value = _named(module, request["function"])(*arguments, **keywords)
            answer = {"value": encode(value, other=keep)}
        except Exception as error:
            answer = {"error": type(error).__name__, "text": str(error)[:1000]}
        _write_frame(FIRST_EXTRA_FD + 1, answer)


class _Kept:
    """In a judge: an object that stays with the solution."""

    def __init__(self, data: dict[str, int]) -> None:
        self.data = data


def _judge(payload: dict[str, Any], code: CodeType) -> None:
    """Run tests whose calls of the solution go to another sandbox."""
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
        raise _error_named(str(answer.get("error")), str(answer.get("text")))

    function.__name__ = name
    return function


def _error_named(name: str, text: str) -> Exception:
    """As the solution raised it, where it is one of Python's own."""
    kind: Any = getattr(builtins, name, None)
    is_exception = isinstance(kind, type) and issubclass(kind, Exception)
    if is_exception and kind not in (StopIteration, StopAsyncIteration):  # these end loops silently
        return kind(text)
    return RuntimeError(f"{name}: {text}")


def _exec(payload: dict[str, Any], code: CodeType | None) -> None:
    """Become another program."""
    os.execve(payload.get("fd", payload["argv"][0]), payload["argv"], dict(os.environ))


def _write_frame(fd: int, value: Any) -> None:
    data = json.dumps(value).encode()
    data = _FRAME.pack(len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def _read_frame(fd: int) -> Any:
    """None where the other side has ended."""
    head = _read_exactly(fd, _FRAME.size)
    if head is None:
        return None
    body = _read_exactly(fd, *_FRAME.unpack(head))
    return None if body is None else json.loads(body)


def _read_exactly(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        chunk = os.read(fd, min(size - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return data


_MODES: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "call": _call,
    "calls": _calls,
    "exec": _exec,
    "judge": _judge,
    "script": _script,
    "serve": _serve,
}
