"""Judge a program by its cases: calls in one job first, then a new job for each remaining case.

case {"input", "output"}            stdin and stdout
case {"args", "output"}             a call of `function` and its value
case {"program", "functions"}       tests that call the solution from another sandbox

Expected values never leave this process.
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
from sandbox.tiers import the_tier
from sandbox.verdicts import Checker, Judgement, Limits, RunResult, Verdict

__all__ = ["judge"]

_OPTIONS: Final = {"compare", "tolerance", "function", "tuple_is_list"}
_FUNCTION: Final = re.compile(r"(?:[^\W\d]\w*\(\)\.)?[^\W\d]\w*")
_CHECK_LIMITS: Final = Limits(wall_s=21, cpu_s=10)
_CHECK_FILES: Final = ("input", "output", "expected")
_LONGER_AT_MOST: Final = 32  # a right value is at most this many times as long, however written
_SLACK_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A validated case."""

    stdin: bytes = b""
    call: Mapping[str, Any] | None = None  # {"function", "args"}
    tests: Mapping[str, Any] | None = None  # {"program", "functions"}
    expected: Any = None  # bytes of stdout, or an encoded value
    compare: str | Checker = "tokens"
    tolerance: Tolerance = Tolerance(1e-6, 1e-6)  # noqa: RUF009  # frozen
    tuple_is_list: bool = False


def judge(
    code: str,
    cases: Sequence[Mapping[str, Any]],
    *,
    function: str | None = None,
    language: str = "python",
    compare: str | Checker | None = None,
    tolerance: float | tuple[float, float] | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    stop_early: bool = True,
    backend: Backend | None = None,
) -> Judgement:
    """Judge a program by cases; accepted if every case is.

    Args:
        cases: {"input", "output"} (text on stdin and stdout) or, with `function`, {"args": [...],
            "output": value} of Python literals. A case's own `compare`, `tolerance`, `function`
            and `tuple_is_list` take precedence.
        function: "name" or "Solution().name".
        compare: "tokens" (default) | "lines" | "floats" | "multiset" | "json" for stdout; "json"
            (default, types exact) | "equal" (==) | "floats" | "multiset" for values; or a Checker.
        tolerance: t, meaning |a-b| <= t * max(1, |expected|), or (absolute, relative).
        limits: limits of each case.
        backend: where to run it; by default in the tier of this process.

    Raises:
        SandboxUnavailable: no isolation, or no tool for the language.
        ValueError: an invalid case or argument.
    """
    backend = backend or the_tier().backend
    parsed = language_named(language)
    defaults = {"function": function, "compare": compare, "tolerance": tolerance}
    read = [_read_case(case, number, defaults) for number, case in enumerate(cases)]
    if not read:
        raise ValueError("cases is empty: without a case there is nothing to judge by")
    if parsed.tool is not None and any(case.call or case.tests for case in read):
        raise ValueError(f"calls of a function are for python, not for {parsed.name}")
    try:
        program = backend.build(code, parsed, {})
    except BuildFailed as error:
        built = error.as_result()
        return Judgement(verdict=built.verdict, reason=built.reason)
    passed = _run_calls_in_a_row(backend, program, code, read, limits)
    results = []
    for number, case in enumerate(read):
        result = passed.get(number) or _run_case(backend, program, code, case, limits)
        results.append(result)
        if stop_early and result.verdict is not Verdict.ACCEPTED:
            break
    failed = [result for result in results if result.verdict is not Verdict.ACCEPTED]
    failed.sort(key=lambda result: result.verdict is Verdict.INTERNAL_ERROR)  # these come last
    if not failed:
        return Judgement(verdict=Verdict.ACCEPTED, cases=tuple(results))
    reason = f"case {results.index(failed[0])}: {failed[0].reason}"
    return Judgement(verdict=failed[0].verdict, reason=reason, cases=tuple(results))


def _run_calls_in_a_row(
    backend: Backend, program: Program, code: str, cases: Sequence[_Case], limits: Limits
) -> dict[int, RunResult]:
    """Run all calls in one process; return the accepted results by the number of their case.

    This is fast and final for a right program that prints nothing and meets the limits of one case
    with all calls together. Every other case runs by itself. The calls share the resources used
    evenly.
    """
    calls = {
        number: case.call
        for number, case in enumerate(cases)
        if case.call is not None and isinstance(case.compare, str)
    }
    functions = {call["function"] for call in calls.values()}
    if not backend.can_call_in_a_row or len(calls) < 2 or len(functions) > 1:
        return {}
    arguments = [call["args"] for call in calls.values()]
    payload = {"mode": "calls", "code": code, "function": functions.pop(), "calls": arguments}
    result = backend.execute(replace(program, payload=payload), limits=limits)
    frames = split_frames(result.frame) if result.verdict is Verdict.ACCEPTED else []
    if result.stdout or result.stderr or len(frames) != len(calls):
        return {}
    wall_s, cpu_s = result.wall_s / len(calls), result.cpu_s / len(calls)
    passed = {}
    for number, frame in zip(calls, frames, strict=True):
        one = replace(result, frame=frame, wall_s=wall_s, cpu_s=cpu_s)
        if _judge_value(backend, one, cases[number]).verdict is Verdict.ACCEPTED:
            passed[number] = one
    return passed


def _run_case(
    backend: Backend, program: Program, code: str, case: _Case, limits: Limits
) -> RunResult:
    if case.tests is not None:
        return backend.run_tests(code, case.tests, limits)
    if case.call is not None:
        call = {"function": case.call["function"], "calls": [case.call["args"]]}
        payload = {"mode": "calls", "code": code, **call}
        result = backend.execute(replace(program, payload=payload), limits=limits)
        return _judge_value(backend, result, case)
    result = backend.execute(program, stdin=case.stdin, limits=limits)
    return _judge_output(backend, result, case, result.stdout)


def _judge_value(backend: Backend, result: RunResult, case: _Case) -> RunResult:
    """Return the result with the verdict on the function's value."""
    if result.verdict is not Verdict.ACCEPTED:
        return result
    if len(result.frame) > _LONGER_AT_MOST * len(json.dumps(case.expected)) + _SLACK_BYTES:
        reason = f"a value of {len(result.frame)} bytes where a short one was expected"
        return replace(result, verdict=Verdict.WRONG_ANSWER, reason=reason)
    try:
        value = read_frame(result.frame)
    except ValueError:
        return replace(result, verdict=Verdict.RUNTIME_ERROR, reason="it ended without a value")
    return _judge_output(backend, result, case, value)


def _judge_output(backend: Backend, result: RunResult, case: _Case, got: Any) -> RunResult:
    """Return the result with the verdict on the stdout or the value of an accepted run."""
    if result.verdict is not Verdict.ACCEPTED:
        return result
    if isinstance(case.compare, Checker):
        verdict, reason = _run_checker(backend, case.compare, case, got)
        return replace(result, verdict=verdict, reason=reason)
    options: dict[str, Any] = {"mode": case.compare, "tolerance": case.tolerance}
    if isinstance(case.expected, bytes):
        is_same = same_stdout(got, case.expected, **options)
    else:
        is_same = same_value(got, case.expected, tuple_is_list=case.tuple_is_list, **options)
    if is_same:
        return result
    reason = f"{_short(got)} where {_short(case.expected)} was expected"
    return replace(result, verdict=Verdict.WRONG_ANSWER, reason=reason)


def _short(value: Any, width: int = 60) -> str:
    text = value[:200].decode(errors="replace") if isinstance(value, bytes) else json.dumps(value)
    text = repr(text.strip()) if isinstance(value, bytes) else text
    return text if len(text) <= width else text[: width - 3] + "..."


def _run_checker(backend: Backend, checker: Checker, case: _Case, got: Any) -> tuple[Verdict, str]:
    given = case.stdin if case.call is None else encode(case.call["args"])
    contents = (
        value if isinstance(value, bytes) else json.dumps(value).encode()
        for value in (given, got, case.expected)
    )
    files = dict(zip(_CHECK_FILES, contents, strict=True))
    try:
        program = backend.build(checker.code, language_named(checker.language), {})
    except BuildFailed as failed:
        text = failed.result.stderr.decode(errors="replace")[:300]
        raise ValueError(f"the checker does not compile: {text}") from failed
    payload = dict(program.payload)
    payload["argv"] = [*payload.get("argv", ["main.py"]), *_CHECK_FILES]
    program = replace(program, payload=payload, files={**program.files, **files})
    result = backend.execute(program, limits=_CHECK_LIMITS)
    if result.verdict in (Verdict.ACCEPTED, Verdict.INTERNAL_ERROR):
        return result.verdict, result.reason
    text = result.stderr.decode(errors="replace").strip()[-200:]
    return Verdict.WRONG_ANSWER, f"rejected by the checker: {text or result.reason}"


def _read_case(case: Mapping[str, Any], number: int, defaults: Mapping[str, Any]) -> _Case:
    """Validate a case; raises ValueError with its number and the problem."""
    where = f"cases[{number}]"
    if not isinstance(case, Mapping):
        raise ValueError(f"{where} is {type(case).__name__}; allowed: a dictionary")
    kind = next((keys for keys in _READERS if keys[0] in case), None)
    if kind is None or not {*kind} <= set(case) <= {*kind} | _OPTIONS:
        keys = ", ".join(sorted(map(str, case))) or "none"
        raise ValueError(
            f"{where} has the keys {keys}; allowed: input and output, args and output, or program "
            f"and functions; optional: {', '.join(sorted(_OPTIONS))}"
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


_READERS: Final[Mapping[tuple[str, str], Callable[[Any, Any], _Case]]] = {  # by the required keys
    ("input", "output"): _read_stdin_case,
    ("args", "output"): _read_call_case,
    ("program", "functions"): lambda case, settings: _Case(
        tests={"program": str(case["program"]), "functions": list(case["functions"])}
    ),
}


def _mode(compare: Any, allowed: Any) -> str | Checker:
    if not isinstance(compare, Checker) and compare not in allowed:
        raise ValueError(f"compare is {compare!r}; allowed: {', '.join(allowed)}, or a Checker")
    return compare
