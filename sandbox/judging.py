"""A program held against its cases: calls in a row first, then a fresh job for each case that is
left.

case {"input", "output"}            stdin and stdout
case {"args", "output"}             a call of `function` and its value
case {"program", "functions"}       tests that call the solution from another sandbox

Expected values stay in this process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sandbox.compare import STDOUT_MODES, VALUE_MODES, Tolerance, same_stdout, same_value
from sandbox.jobs import Backend, BuildFailed, Program, text_bytes
from sandbox.languages import language_named
from sandbox.literals import decode, encode, read_frame, split_frames
from sandbox.verdicts import Checker, Judgement, Limits, RunResult, Verdict

__all__ = ["judge_on"]

_CASE_KEYS: Final = {
    "input": {"input", "output"},
    "args": {"args", "output"},
    "program": {"program", "functions"},
}
_OPTIONS: Final = {"compare", "tolerance", "function", "tuple_is_list"}
_FUNCTION: Final = re.compile(r"(?:[^\W\d]\w*\(\)\.)?[^\W\d]\w*")
_CHECK_LIMITS: Final = Limits(wall_s=21, cpu_s=10)
_FILES: Final = ("input", "output", "expected")


_EXACT_ENOUGH: Final = Tolerance(1e-6, 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A case that has been read and found right."""

    stdin: bytes = b""
    call: Mapping[str, Any] | None = None  # {"function", "args"}
    tests: Mapping[str, Any] | None = None  # {"program", "functions"}
    expected: Any = None  # bytes, or encoded
    compare: str | Checker = "tokens"
    tolerance: Tolerance = _EXACT_ENOUGH
    tuple_is_list: bool = False


def judge_on(
    backend: Backend,
    code: str,
    cases: Sequence[Mapping[str, Any]],
    *,
    function: str | None,
    language: str,
    compare: str | Checker | None,
    tolerance: float | tuple[float, float] | None,
    limits: Limits,
    stop_early: bool,
) -> Judgement:
    """See `sandbox.judge`."""
    spoken = language_named(language)
    defaults = {"function": function, "compare": compare, "tolerance": tolerance}
    read = [_read_case(case, number, defaults) for number, case in enumerate(cases)]
    if not read:
        raise ValueError("cases is empty: without a case there is nothing to judge by")
    if spoken.tool is not None and any(case.call or case.tests for case in read):
        raise ValueError(f"calls of a function are for python, not for {spoken.name}")
    try:
        program = backend.build(code, spoken, {})
    except BuildFailed as failed:
        built = failed.as_result()
        return Judgement(verdict=built.verdict, reason=built.reason)
    passed = _passed_in_a_row(backend, program, code, read, limits)
    results = []
    for number, case in enumerate(read):
        result = passed.get(number) or _run_case(backend, program, code, case, limits)
        results.append(result)
        if stop_early and result.verdict is not Verdict.ACCEPTED:
            break
    return _judgement(results)


def _passed_in_a_row(
    backend: Backend, program: Program, code: str, cases: Sequence[_Case], limits: Limits
) -> dict[int, RunResult]:
    """Calls that gave the right values one after another in one process, by their number.

    That is quick, and settles what a right program has done: silently, and all together within
    the limits of one case. Every other case is run by itself. What the calls used is shared out
    evenly.
    """
    calls = {number: case for number, case in enumerate(cases) if _can_be_in_a_row(case)}
    functions = {case.call["function"] for case in calls.values() if case.call}
    if not backend.can_call_in_a_row or len(calls) < 2 or len(functions) > 1:
        return {}
    arguments = [case.call["args"] for case in calls.values() if case.call]
    payload = {"mode": "calls", "code": code, "function": functions.pop(), "calls": arguments}
    result = backend.execute(replace(program, payload=payload), limits=limits)
    frames = split_frames(result.frame) if result.verdict is Verdict.ACCEPTED else []
    if result.stdout or result.stderr or len(frames) != len(calls):
        return {}
    wall_s, cpu_s = result.wall_s / len(calls), result.cpu_s / len(calls)
    alone = {
        number: replace(result, frame=frame, wall_s=wall_s, cpu_s=cpu_s)
        for number, frame in zip(calls, frames, strict=True)
    }
    return {
        number: one
        for number, one in alone.items()
        if _held_against(backend, one, cases[number], _value_of(one, cases[number]), b"").verdict
        is Verdict.ACCEPTED
    }


def _can_be_in_a_row(case: _Case) -> bool:
    return case.call is not None and isinstance(case.compare, str)


def _judgement(results: Sequence[RunResult]) -> Judgement:
    """A failure is a failure, whatever could not be found out about other cases."""
    failed = [result for result in results if result.verdict is not Verdict.ACCEPTED]
    failed.sort(key=lambda result: result.verdict is Verdict.INTERNAL_ERROR)
    if not failed:
        return Judgement(verdict=Verdict.ACCEPTED, cases=tuple(results))
    reason = f"case {results.index(failed[0])}: {failed[0].reason}"
    return Judgement(verdict=failed[0].verdict, reason=reason, cases=tuple(results))


def _run_case(
    backend: Backend, program: Program, code: str, case: _Case, limits: Limits
) -> RunResult:
    if case.tests is not None:
        return backend.run_tests(code, case.tests, limits)
    if case.call is not None:
        payload = {"mode": "call", "code": code, **case.call}
        result = backend.execute(replace(program, payload=payload), limits=limits)
        given = json.dumps(encode(case.call["args"])).encode()
        return _held_against(backend, result, case, _value_of(result, case), given)
    result = backend.execute(program, stdin=case.stdin, limits=limits)
    return _held_against(backend, result, case, result.stdout, case.stdin)


_MISSING: Final = object()
_TOO_LONG: Final = object()
_LONGER_AT_MOST: Final = 32  # no right value takes more room, whatever its spelling
_SLACK_BYTES: Final = 1 << 16


def _value_of(result: RunResult, case: _Case) -> Any:
    """The encoded value, `_MISSING` where none came whole.

    One far longer than the expected value is `_TOO_LONG`: to read it would cost more than the
    run.
    """
    if result.verdict is not Verdict.ACCEPTED:
        return _MISSING
    if len(result.frame) > _LONGER_AT_MOST * len(json.dumps(case.expected)) + _SLACK_BYTES:
        return _TOO_LONG
    try:
        return read_frame(result.frame)
    except ValueError:
        return _MISSING


def _held_against(
    backend: Backend, result: RunResult, case: _Case, got: Any, given: bytes
) -> RunResult:
    """The result of a run that ended well, with the verdict on what it gave."""
    if result.verdict is not Verdict.ACCEPTED:
        return result
    if got is _MISSING:
        return replace(result, verdict=Verdict.RUNTIME_ERROR, reason="it ended without a value")
    if got is _TOO_LONG:
        reason = f"a value of {len(result.frame)} bytes where a short one was expected"
        return replace(result, verdict=Verdict.WRONG_ANSWER, reason=reason)
    if isinstance(case.compare, Checker):
        verdict, reason = _ask_checker(backend, case.compare, given, got, case.expected)
        return replace(result, verdict=verdict, reason=reason)
    if _is_same(got, case):
        return result
    reason = f"{_short(got)} where {_short(case.expected)} was expected"
    return replace(result, verdict=Verdict.WRONG_ANSWER, reason=reason)


def _is_same(got: Any, case: _Case) -> bool:
    assert isinstance(case.compare, str)
    if isinstance(case.expected, bytes):
        return same_stdout(got, case.expected, mode=case.compare, tolerance=case.tolerance)
    return same_value(
        got,
        case.expected,
        mode=case.compare,
        tolerance=case.tolerance,
        tuple_is_list=case.tuple_is_list,
    )


def _short(value: Any, width: int = 60) -> str:
    text = value[:200].decode(errors="replace") if isinstance(value, bytes) else json.dumps(value)
    text = repr(text.strip()) if isinstance(value, bytes) else text
    return text if len(text) <= width else text[: width - 3] + "..."


def _ask_checker(
    backend: Backend, checker: Checker, given: bytes, got: Any, expected: Any
) -> tuple[Verdict, str]:
    contents = (
        given,
        *(v if isinstance(v, bytes) else json.dumps(v).encode() for v in (got, expected)),
    )
    files = dict(zip(_FILES, contents, strict=True))
    try:
        program = backend.build(checker.code, language_named(checker.language), {})
    except BuildFailed as failed:
        text = failed.result.stderr.decode(errors="replace")[:300]
        raise ValueError(f"the checker does not compile: {text}") from failed
    payload = dict(program.payload)
    payload["argv"] = [*payload.get("argv", ["main.py"]), *_FILES]
    program = replace(program, payload=payload, files={**program.files, **files})
    result = backend.execute(program, limits=_CHECK_LIMITS)
    if result.verdict in (Verdict.ACCEPTED, Verdict.INTERNAL_ERROR):
        return result.verdict, result.reason
    said = result.stderr.decode(errors="replace").strip()[-200:]
    return Verdict.WRONG_ANSWER, f"the checker says no: {said or result.reason}"


def _read_case(case: Mapping[str, Any], number: int, defaults: Mapping[str, Any]) -> _Case:
    """Raises ValueError that names the case and what is wrong with it."""
    where = f"cases[{number}]"
    if not isinstance(case, Mapping):
        raise ValueError(f"{where} is {type(case).__name__}; allowed: a dictionary")
    kind = next((name for name in _CASE_KEYS if name in case), None)
    if kind is None or not _CASE_KEYS[kind] <= set(case) <= _CASE_KEYS[kind] | _OPTIONS:
        keys = ", ".join(sorted(map(str, case))) or "none"
        raise ValueError(
            f"{where} has the keys {keys}; allowed: input and output, args and output, or program "
            f"and functions, with {', '.join(sorted(_OPTIONS))} beside them"
        )
    settings = {**defaults, **{key: case[key] for key in _OPTIONS if key in case}}
    try:
        return _READERS[kind](case, settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _read_stdin_case(case: Mapping[str, Any], settings: Mapping[str, Any]) -> _Case:
    if settings["function"] is not None:
        raise ValueError("with a function a case has args, not input")
    for key in ("input", "output"):
        if not isinstance(case[key], str | bytes):
            raise ValueError(f"{key} is {type(case[key]).__name__}; allowed: text")
    return _Case(
        stdin=text_bytes(case["input"]),
        expected=text_bytes(case["output"]),
        compare=_mode(settings["compare"] or "tokens", STDOUT_MODES),
        tolerance=Tolerance.of(settings["tolerance"]),
    )


def _read_call_case(case: Mapping[str, Any], settings: Mapping[str, Any]) -> _Case:
    function = settings["function"]
    if not isinstance(function, str) or not _FUNCTION.fullmatch(function):
        raise ValueError(f"function is {function!r}; allowed: a name, or Class().method")
    if not isinstance(case["args"], list | tuple):
        raise ValueError(f"args is {type(case['args']).__name__}; allowed: a list")
    return _Case(
        call={"function": function, "args": decode(encode(list(case["args"])))},
        expected=encode(case["output"]),
        compare=_mode(settings["compare"] or "json", VALUE_MODES),
        tolerance=Tolerance.of(settings["tolerance"]),
        tuple_is_list=bool(settings.get("tuple_is_list", False)),
    )


def _read_tests_case(case: Mapping[str, Any], settings: Mapping[str, Any]) -> _Case:
    return _Case(tests={"program": str(case["program"]), "functions": list(case["functions"])})


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], _Case]]] = {
    "input": _read_stdin_case,
    "args": _read_call_case,
    "program": _read_tests_case,
}


def _mode(compare: Any, allowed: Any) -> str | Checker:
    if not isinstance(compare, Checker) and compare not in allowed:
        raise ValueError(f"compare is {compare!r}; allowed: {', '.join(allowed)}, or a Checker")
    return compare
