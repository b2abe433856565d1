"""The public data types (limits, verdicts, results), and the verdict on a job.

The verdict never depends on what a program prints or writes, except to tell one failure from
another.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sandbox.inside.protocol import Cause, Done
from sandbox.literals import decode, read_frame

if TYPE_CHECKING:
    from sandbox.workers import JobOutcome

__all__ = [
    "Checker",
    "Judgement",
    "Limits",
    "RunResult",
    "SandboxUnavailable",
    "Verdict",
    "result_of",
]

_MIB = 1 << 20
_READABLE_BYTES = 1 << 14
_STREAMS = ("stdout", "stderr", "result")
_NO_MEMORY = (b"MemoryError", b"std::bad_alloc", b"heap out of memory", b"Cannot allocate memory")
_NEARLY = 0.95


class SandboxUnavailable(RuntimeError):
    """This machine lacks sufficient isolation or a tool; the text names what is missing."""


class Verdict(StrEnum):
    """The outcome of a program."""

    ACCEPTED = "accepted"  # without an expected output: exit code 0
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    COMPILE_ERROR = "compile_error"
    POLICY_VIOLATION = "policy_violation"  # it made a forbidden system call
    INTERNAL_ERROR = "internal_error"  # the sandbox failed, not the program; must not be scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one run.

    Raises:
        ValueError: a limit is not a finite number above 0, or a count is not a whole number.
    """

    wall_s: float = 13.0  # then it is late and killed; twice the CPU time plus 1 s
    grace_s: float = 1.0  # from then until it is dead at the latest
    cpu_s: float = 6.0  # CPU time of all its processes
    memory_bytes: int = 512 * _MIB  # of all its processes
    output_bytes: int = 1 * _MIB  # of each stream
    processes: int = 32  # and threads
    disk_bytes: int = 64 * _MIB
    inodes: int = 4096

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            is_count = spec.type == "int"
            is_number = isinstance(value, int if is_count else int | float)
            if not is_number or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
                kind = "whole number" if is_count else "number"
                raise ValueError(f"{spec.name} is {value!r}; it must be a finite {kind} above 0")
            if value >= 1 << 62:
                raise ValueError(f"{spec.name} is {value!r}; it must be below 2**62")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of one run of a program."""

    verdict: Verdict
    reason: str = ""  # in words, if the verdict is not accepted
    stdout: bytes = b""  # at most Limits.output_bytes
    stderr: bytes = b""
    exit_code: int | None = None  # -n if signal n ended it; None: it did not run
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    files: dict[str, bytes] = field(default_factory=dict)  # those named in `collect` that exist
    frame: bytes = field(default=b"", repr=False)  # a function's value as the job encoded it

    @property
    def value(self) -> Any:
        """The function's return value.

        None if it did not return, or if the value was not accepted and has more than 16 KiB, since
        decoding it could be an attack.
        """
        if self.verdict is not Verdict.ACCEPTED and len(self.frame) > _READABLE_BYTES:
            return None
        try:
            return decode(read_frame(self.frame))
        except (ArithmeticError, RecursionError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The judgement of a program by its cases; accepted if all of them are."""

    verdict: Verdict  # of the first failed case
    reason: str = ""
    cases: tuple[RunResult, ...] = ()  # one per case that was run, in order


@dataclass(frozen=True, slots=True)
class Checker:
    """A program that decides whether an output is right; it runs in its own sandbox.

    Its arguments are three file names: the case's input, the program's output, the expected output
    (for functions as JSON of `sandbox.literals`). Exit code 0 accepts.
    """

    code: str
    language: str = "python"


def result_of(outcome: JobOutcome, limits: Limits, *, collect: Sequence[str] = ()) -> RunResult:
    """Return the result of a job; accepted means that the program ended with exit code 0.

    `collect` holds the names of `outcome.files`, whose descriptors are closed here; all files
    together have at most `limits.disk_bytes`.
    """
    verdict, reason = _verdict(outcome, limits)
    done = outcome.done
    left, files = limits.disk_bytes, {}
    names = [name for i, name in enumerate(collect) if done and done.collected >> i & 1]
    for name, fd in zip(names, outcome.files, strict=False):
        files[name] = os.pread(fd, left, 0)
        left -= len(files[name])
        os.close(fd)
    return RunResult(
        verdict=verdict,
        reason=reason,
        stdout=bytes(outcome.kept[0]),
        stderr=bytes(outcome.kept[1]),
        exit_code=None if done is None else os.waitstatus_to_exitcode(done.wait_status),
        wall_s=limits.wall_s + limits.grace_s if done is None else done.wall_us / 1e6,
        cpu_s=0.0 if done is None else done.cpu_us / 1e6,
        peak_memory_bytes=0 if done is None else done.peak_bytes,
        files=files,
        frame=bytes(outcome.kept[2]),
    )


def _verdict(outcome: JobOutcome, limits: Limits) -> tuple[Verdict, str]:
    done, stderr = outcome.done, bytes(outcome.kept[1])
    if done is None:
        return Verdict.TIME_LIMIT, f"not dead {limits.grace_s:g} s after its wall limit"
    if outcome.flooded is not None:
        name = _STREAMS[outcome.flooded]
        return Verdict.OUTPUT_LIMIT, f"more than {limits.output_bytes} bytes on {name}"
    if outcome.is_out_of_memory or done.cause == Cause.MEMORY:
        return Verdict.MEMORY_LIMIT, f"more than {limits.memory_bytes} bytes of memory"
    if over := _exceeded(done, limits):
        return over
    if done.num_phases == 0:
        return Verdict.INTERNAL_ERROR, stderr.decode(errors="replace") or "the job did not start"
    code = os.waitstatus_to_exitcode(done.wait_status)
    if code == 0 and done.peak_bytes <= limits.memory_bytes:
        return Verdict.ACCEPTED, ""
    failure, reason = _failure(code, stderr, done.peak_bytes, limits)
    if done.num_phases == 1 and failure is Verdict.RUNTIME_ERROR:
        return Verdict.COMPILE_ERROR, reason
    return failure, reason


def _exceeded(done: Done, limits: Limits) -> tuple[Verdict, str] | None:
    match done.cause:
        case Cause.DISK:
            text = f"more than {limits.disk_bytes} bytes or {limits.inodes} files on disk"
            return Verdict.RUNTIME_ERROR, text
        case Cause.PROCESSES:
            return Verdict.RUNTIME_ERROR, f"more than {limits.processes} processes and threads"
    if done.cause == Cause.CPU or done.cpu_us > limits.cpu_s * 1e6:
        return Verdict.TIME_LIMIT, f"more than {limits.cpu_s:g} s of processor time"
    if done.cause == Cause.WALL or done.wall_us > limits.wall_s * 1e6:
        return Verdict.TIME_LIMIT, f"more than {limits.wall_s:g} s"
    return None


def _failure(code: int, stderr: bytes, peak_bytes: int, limits: Limits) -> tuple[Verdict, str]:
    if code == -signal.SIGSYS:
        return Verdict.POLICY_VIOLATION, "a system call that honest programs do not make"
    if code == -signal.SIGXCPU:
        return Verdict.TIME_LIMIT, f"more than {limits.cpu_s:g} s of processor time"
    has_message = any(message in stderr[-4000:] for message in _NO_MEMORY)
    if has_message or peak_bytes > _NEARLY * limits.memory_bytes:
        return Verdict.MEMORY_LIMIT, f"out of memory ({limits.memory_bytes} bytes)"
    reason = f"exit code {code}"
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        reason = f"ended by {names.get(-code, f'signal {-code}')}"
    last_line = stderr[-2000:].rstrip().rpartition(b"\n")[2].decode(errors="replace")[:200]
    return Verdict.RUNTIME_ERROR, f"{reason}: {last_line}" if last_line else reason
