"""Turn the facts about a job into its RunResult.

The verdict never depends on what a program prints or writes, except to tell one failure from
another.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from sandbox.inside.protocol import Cause, Done
from sandbox.verdicts import Limits, RunResult, Verdict
from sandbox.workers import JobOutcome

__all__ = ["result_of"]

_STREAMS = ("stdout", "stderr", "result")
_NO_MEMORY = (b"MemoryError", b"std::bad_alloc", b"heap out of memory", b"Cannot allocate memory")
_NEARLY = 0.95


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
    if outcome.is_out_of_memory:
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
        case Cause.MEMORY:
            return Verdict.MEMORY_LIMIT, f"more than {limits.memory_bytes} bytes of memory"
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
