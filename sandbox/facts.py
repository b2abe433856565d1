"""From facts about a job to a verdict. Nothing that a program prints or writes is asked for it,
but to tell one failure from another.
"""

from __future__ import annotations

import os
import signal

from sandbox.inside.protocol import Cause
from sandbox.verdicts import Limits, Verdict
from sandbox.workers import Outcome

__all__ = ["read_facts"]

_STREAMS = ("stdout", "stderr", "result")
_OUT_OF_MEMORY = (
    b"MemoryError",
    b"std::bad_alloc",
    b"heap out of memory",
    b"Cannot allocate memory",
)
_NEARLY = 0.95


def read_facts(outcome: Outcome, limits: Limits) -> tuple[Verdict, str]:
    """(verdict, reason); accepted means that the program ended by itself with exit code 0."""
    done = outcome.done
    if done is None:
        return Verdict.TIME_LIMIT, f"not dead {limits.grace_s:g} s after its wall limit"
    if outcome.flooded is not None:
        name = _STREAMS[outcome.flooded]
        return Verdict.OUTPUT_LIMIT, f"more than {limits.output_bytes} bytes on {name}"
    if outcome.is_out_of_memory:
        return Verdict.MEMORY_LIMIT, f"more than {limits.memory_bytes} bytes of memory"
    stopped = _stopped(Cause(done.cause), done.wall_us, done.cpu_us, limits)
    if stopped:
        return stopped
    if done.num_phases == 0:
        text = bytes(outcome.kept[1]).decode(errors="replace")
        return Verdict.INTERNAL_ERROR, text or "the job did not start"
    code = os.waitstatus_to_exitcode(done.wait_status)
    if code == 0 and done.peak_bytes <= limits.memory_bytes:
        return Verdict.ACCEPTED, ""
    failed, reason = _failed(code, bytes(outcome.kept[1]), done.peak_bytes, limits)
    if done.num_phases == 1 and failed is Verdict.RUNTIME_ERROR:
        return Verdict.COMPILE_ERROR, reason
    return failed, reason


def _stopped(cause: Cause, wall_us: int, cpu_us: int, limits: Limits) -> tuple[Verdict, str] | None:
    if cause == Cause.MEMORY:
        return Verdict.MEMORY_LIMIT, f"more than {limits.memory_bytes} bytes of memory"
    if cause == Cause.DISK:
        text = f"more than {limits.disk_bytes} bytes or {limits.inodes} files on disk"
        return Verdict.RUNTIME_ERROR, text
    if cause == Cause.PROCESSES:
        return Verdict.RUNTIME_ERROR, f"more than {limits.processes} processes and threads"
    if cause == Cause.CPU or cpu_us > limits.cpu_s * 1e6:
        return Verdict.TIME_LIMIT, f"more than {limits.cpu_s:g} s of processor time"
    if cause == Cause.WALL or wall_us > limits.wall_s * 1e6:
        return Verdict.TIME_LIMIT, f"more than {limits.wall_s:g} s"
    return None


def _failed(code: int, stderr: bytes, peak_bytes: int, limits: Limits) -> tuple[Verdict, str]:
    if code == -signal.SIGSYS:
        return Verdict.POLICY_VIOLATION, "a system call that no honest program has a use for"
    if code == -signal.SIGXCPU:
        return Verdict.TIME_LIMIT, f"more than {limits.cpu_s:g} s of processor time"
    last = stderr[-2000:].rstrip().rpartition(b"\n")[2]
    if peak_bytes > _NEARLY * limits.memory_bytes or any(
        word in stderr[-4000:] for word in _OUT_OF_MEMORY
    ):
        return Verdict.MEMORY_LIMIT, f"out of memory ({limits.memory_bytes} bytes)"
    how = f"exit code {code}" if code >= 0 else f"ended by {_signal_name(-code)}"
    said = last.decode(errors="replace")[:200]
    return Verdict.RUNTIME_ERROR, f"{how}: {said}" if said else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
