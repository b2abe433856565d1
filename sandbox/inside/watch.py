"""A job under watch: what its processes use, looked at every 20 ms, until it ends or must end.

Only limits that the kernel does not keep by itself are looked at here: wall time, the processor
time and memory of all processes together, and what a shared file system lacks.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from sandbox.inside.protocol import Cause, Job
from sandbox.inside.scratch import Scratch

__all__ = ["Usage", "Watch"]

_LOOK_EVERY_MS = 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class Usage:
    """Of all processes of a job."""

    cpu_us: int = 0
    memory_bytes: int = 0
    threads: int = 0


@dataclass(slots=True, kw_only=True)
class Watch:
    """The supervisor's channel, the job's scratch, and how to find the job's processes."""

    channel: int
    scratch: Scratch
    has_namespaces: bool
    peak_bytes: int = 0
    orphans_cpu_us: int = 0

    def until_end(self, job: Job, pid: int) -> Cause:
        """Returns when the job's first process is dead; SIGKILLs it where it must not go on.

        Raises:
            EOFError: the supervisor is gone; the job has been killed.
        """
        process = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(self.channel, select.POLLIN)
        end = time.monotonic() + job.wall_ms / 1000
        cause = Cause.NONE
        try:
            while True:
                left_ms = max(0.0, (end - time.monotonic()) * 1000)
                ready = dict(poll.poll(min(_LOOK_EVERY_MS, left_ms + 0.5)))
                if process in ready:
                    return cause
                cause = cause or self._must_end(job, pid, asked=self.channel in ready, end=end)
                if cause:
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    with suppress(KeyError):
                        poll.unregister(self.channel)
        finally:
            os.close(process)

    def _must_end(self, job: Job, pid: int, *, asked: bool, end: float) -> Cause:
        if asked:
            return Cause.ASKED
        if time.monotonic() >= end:
            return Cause.WALL
        usage = self._look(pid)
        self.peak_bytes = max(self.peak_bytes, usage.memory_bytes)
        if usage.memory_bytes > job.memory_bytes:
            return Cause.MEMORY
        if usage.cpu_us + self.orphans_cpu_us > job.cpu_ms * 1000:
            return Cause.CPU
        if usage.threads > job.processes:
            return Cause.PROCESSES
        return Cause.DISK if self.scratch.is_over(job, pid) else Cause.NONE

    def _look(self, pid: int) -> Usage:
        total = Usage()
        pids = list(self._pids(pid))
        for each in pids:
            with suppress(OSError, ValueError):  # ended meanwhile
                _add(total, each, is_alone=len(pids) == 1)
        return total

    def _pids(self, pid: int) -> Iterable[int]:
        """The job's processes: all but this one in its namespace, or a process and those below."""
        if self.has_namespaces:
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return descendants()


def descendants() -> list[int]:
    """Of this process, at any depth; where the kernel does not list children, none."""
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = _children(waiting.pop())
        found += below
        waiting += below
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                children += map(int, file.read().split())
    return children


def _add(total: Usage, pid: int, *, is_alone: bool) -> None:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    total.cpu_us += sum(map(int, fields[11:15])) * 1_000_000 // _TICKS
    total.threads += int(fields[17])
    total.memory_bytes += int(fields[21]) * _PAGE if is_alone else _own_share_bytes(pid, fields)


def _own_share_bytes(pid: int, fields: list[bytes]) -> int:
    """Pages that several processes share are counted once, in parts (Pss)."""
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return int(fields[21]) * _PAGE
