"""Run untrusted programs, and judge them, so that they cannot fool whoever asks.

    from sandbox import judge
    judge("print(int(input()) * 2)", [{"input": "21", "output": "42"}]).verdict

Standard library only, no privileges, Linux. From threads, from asyncio (`arun`, `ajudge`) and from
many processes at once. Which isolation is in use: `python -m sandbox doctor`.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from sandbox.asserts import from_asserts, from_humaneval
from sandbox.jobs import BuildFailed, text_bytes
from sandbox.judging import judge_on
from sandbox.languages import language_named
from sandbox.tiers import Tier, forget, require, the_tier
from sandbox.verdicts import Checker, Judgement, Limits, RunResult, SandboxUnavailable, Verdict

__all__ = [
    "Checker",
    "Judgement",
    "Limits",
    "RunResult",
    "SandboxUnavailable",
    "Tier",
    "Verdict",
    "ajudge",
    "arun",
    "from_asserts",
    "from_humaneval",
    "judge",
    "require",
    "run",
    "shutdown",
    "the_tier",
]

_MAX_COLLECT = 64


def run(
    code: str,
    *,
    language: str = "python",
    stdin: str | bytes = b"",
    files: Mapping[str, str | bytes] | None = None,
    collect: Sequence[str] = (),
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> RunResult:
    """Run a program; accepted means that it ended with exit code 0.

    `files` lie in the directory where it starts; `collect` names files there to hand back (regular
    ones, all together at most `limits.disk_bytes`).

    Raises:
        SandboxUnavailable: no isolation, or no tool for the language.
        ValueError: a language that is not known, or a file name that leaves the directory.
    """
    spoken = language_named(language)
    given = {_inside(name): text_bytes(content) for name, content in (files or {}).items()}
    if len(collect) > _MAX_COLLECT:
        raise ValueError(f"collect names {len(collect)} files; at most {_MAX_COLLECT}")
    wanted = [_inside(name) for name in collect]
    backend = the_tier().backend
    try:
        program = backend.build(code, spoken, given)
    except BuildFailed as failed:
        return failed.as_result()
    return backend.execute(program, stdin=text_bytes(stdin), limits=limits, collect=wanted)


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
) -> Judgement:
    """Hold a program against cases; accepted where every case is.

    A case is {"input", "output"} (text on stdin and stdout) or, with `function` ("name" or
    "Solution().name"), {"args": [...], "output": value} of Python literals. `compare`,
    `tolerance`, `function` and `tuple_is_list` in a case go before those given here.

    compare: "tokens" (default) | "lines" | "floats" | "multiset" | "json" of stdout; "json"
    (default: types exact) | "equal" (Python's ==) | "floats" | "multiset" of values; or a Checker.
    tolerance: t, meaning |a-b| <= t * max(1, |expected|), or (absolute, relative).
    Limits hold for each case.

    Raises:
        SandboxUnavailable: no isolation, or no tool for the language.
        ValueError: a case or an argument that is not as above; says which.
    """
    return judge_on(
        the_tier().backend,
        code,
        cases,
        function=function,
        language=language,
        compare=compare,
        tolerance=tolerance,
        limits=limits,
        stop_early=stop_early,
    )


async def arun(code: str, **options: Any) -> RunResult:
    """`run`, awaitable."""
    return await asyncio.to_thread(partial(run, code, **options))


async def ajudge(code: str, cases: Sequence[Mapping[str, Any]], **options: Any) -> Judgement:
    """`judge`, awaitable."""
    return await asyncio.to_thread(partial(judge, code, cases, **options))


def shutdown() -> None:
    """End all workers of this process; the next call starts new ones."""
    forget(close=True)


atexit.register(shutdown)


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise ValueError(f"the file name {name!r} is not one inside the program's directory")
    return str(path)
