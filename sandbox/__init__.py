"""Run and judge untrusted programs, isolated so that they cannot forge a verdict.

    from sandbox import judge
    judge("print(int(input()) * 2)", [{"input": "21", "output": "42"}]).verdict

Requires Linux and only the standard library; no privileges. Safe to use from threads, asyncio
(`arun`, `ajudge`) and many processes. `python -m sandbox doctor` shows the isolation in use.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sandbox.asserts import from_asserts, from_humaneval
from sandbox.jobs import BuildFailed, text_bytes
from sandbox.judging import judge
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

    Args:
        files: files to create in the working directory, by relative path.
        collect: paths of regular files to return, together at most `limits.disk_bytes`.

    Raises:
        SandboxUnavailable: no isolation, or no tool for the language.
        ValueError: an unknown language, or a path outside the working directory.
    """
    parsed = language_named(language)
    contents = {_relative(name): text_bytes(content) for name, content in (files or {}).items()}
    if len(collect) > _MAX_COLLECT:
        raise ValueError(f"collect names {len(collect)} files; at most {_MAX_COLLECT}")
    wanted = [_relative(name) for name in collect]
    backend = the_tier().backend
    try:
        program = backend.build(code, parsed, contents)
    except BuildFailed as failed:
        return failed.as_result()
    return backend.execute(program, stdin=text_bytes(stdin), limits=limits, collect=wanted)


async def arun(code: str, **options: Any) -> RunResult:
    """Run `run` in a thread."""
    return await asyncio.to_thread(run, code, **options)


async def ajudge(code: str, cases: Sequence[Mapping[str, Any]], **options: Any) -> Judgement:
    """Run `judge` in a thread."""
    return await asyncio.to_thread(judge, code, cases, **options)


def shutdown() -> None:
    """End all workers of this process; the next call starts new ones."""
    forget(close=True)


atexit.register(shutdown)


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise ValueError(f"the file name {name!r} is not inside the program's directory")
    return str(path)
