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
from dataclasses import dataclass, field

from sandbox.inside.protocol import Cause, Job
from sandbox.inside.scratch import Scratch

__all__ = ["Usage", "Watch", "descendants"]

_LOOK_EVERY_MS = 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class Usage:
    """Of all processes of a job."""

    memory_bytes: int = 0
    threads: int = 0


@dataclass(slots=True, kw_only=True)
class Watch:
    """The supervisor's channel, the job's scratch, and how to find the job's processes."""

    channel: int
    scratch: Scratch
    has_namespaces: bool
    peak_bytes: int = 0
    cpu_us: dict[tuple[int, bytes], int] = field(default_factory=dict)  # (pid, start) -> last seen

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
        if sum(self.cpu_us.values()) > job.cpu_ms * 1000:
            return Cause.CPU
        if usage.threads > job.processes:
            return Cause.PROCESSES
        return Cause.DISK if self.scratch.is_over(job, pid) else Cause.NONE

    def _look(self, pid: int) -> Usage:
        total = Usage()
        pids = list(self._pids(pid))
        for each in pids:
            with suppress(OSError, ValueError, IndexError):  # ended meanwhile
                self._add(total, each, is_alone=len(pids) == 1)
        return total

    def _add(self, total: Usage, pid: int, *, is_alone: bool) -> None:
        fields = _stat_fields(f"/proc/{pid}/stat")
        self.cpu_us[pid, fields[19]] = sum(map(int, fields[11:13])) * 1_000_000 // _TICKS
        total.threads += int(fields[17])
        if fields[0] == b"Z" and int(fields[17]) > 1:  # its first thread has ended, others go on
            total.memory_bytes += _largest_thread_bytes(pid)
        elif is_alone:
            total.memory_bytes += int(fields[21]) * _PAGE
        else:
            total.memory_bytes += _own_share_bytes(pid, fields)

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


def _stat_fields(path: str) -> list[bytes]:
    """From the third on: state, ..., utime at 11, stime, ..., threads 17, ..., start 19, rss 21."""
    with open(path, "rb") as file:
        return file.read().rpartition(b")")[2].split()


def _largest_thread_bytes(pid: int) -> int:
    """The threads of a process share their memory; one that has ended shows none."""
    folder = f"/proc/{pid}/task"
    stats = [_stat_fields(f"{folder}/{thread}/stat") for thread in os.listdir(folder)]
    return max(int(fields[21]) for fields in stats) * _PAGE


def _own_share_bytes(pid: int, fields: list[bytes]) -> int:
    """Pages that several processes share are counted once, in parts (Pss)."""
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return int(fields[21]) * _PAGE
