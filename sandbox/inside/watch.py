"""Monitor a running job: measure its processes every 20 ms and kill it when it exceeds a limit.

Only limits that the kernel does not enforce are checked here: wall time, the CPU time and memory
of all processes together, and disk usage on a shared file system.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from sandbox.inside.protocol import Cause, Job
from sandbox.inside.scratch import Scratch

__all__ = ["Watch", "descendants"]

_POLL_MS = 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """The monitor of one job; `channel` leads to the supervisor."""

    def __init__(self, channel: int, scratch: Scratch, *, has_namespaces: bool) -> None:
        self._channel, self._scratch, self._has_namespaces = channel, scratch, has_namespaces
        self.peak_bytes = 0
        self.cpu_us: dict[tuple[int, bytes], int] = {}  # by (pid, start time)

    def wait(self, job: Job, pid: int) -> Cause:
        """Wait until the job's first process is dead; kill it if it exceeds a limit.

        Returns the cause of the kill, or Cause.NONE.
        """
        process = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        end = time.monotonic() + job.wall_ms / 1000
        cause = Cause.NONE
        try:
            while True:
                left_ms = max(0.0, (end - time.monotonic()) * 1000)
                ready = dict(poll.poll(min(_POLL_MS, left_ms + 0.5)))
                if process in ready:
                    return cause
                cause = cause or self._check(job, pid, is_asked=self._channel in ready, end=end)
                if cause:
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    with suppress(KeyError):
                        poll.unregister(self._channel)
        finally:
            os.close(process)

    def _check(self, job: Job, pid: int, *, is_asked: bool, end: float) -> Cause:
        if is_asked:
            return Cause.ASKED
        if time.monotonic() >= end:
            return Cause.WALL
        memory_bytes, num_threads = self._measure()
        self.peak_bytes = max(self.peak_bytes, memory_bytes)
        if memory_bytes > job.memory_bytes:
            return Cause.MEMORY
        if sum(self.cpu_us.values()) > job.cpu_ms * 1000:
            return Cause.CPU
        if num_threads > job.processes:
            return Cause.PROCESSES
        return Cause.DISK if self._scratch.is_over(job, pid) else Cause.NONE

    def _measure(self) -> tuple[int, int]:
        """Return (memory bytes, threads) of the job's processes and record their CPU time."""
        memory_bytes = num_threads = 0
        if self._has_namespaces:  # all processes in it, except this one
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        else:
            pids = descendants()
        for pid in pids:
            with suppress(OSError, ValueError, IndexError):  # ended in the meantime
                fields = _stat_fields(f"/proc/{pid}/stat")
                self.cpu_us[pid, fields[19]] = sum(map(int, fields[11:13])) * 1_000_000 // _TICKS
                num_threads += int(fields[17])
                memory_bytes += _memory_bytes(pid, fields, is_alone=len(pids) == 1)
        return memory_bytes, num_threads


def descendants() -> list[int]:
    """Return this process's descendants, or none if the kernel does not list children."""
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        parent, children = waiting.pop(), []
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with suppress(OSError), open(f"/proc/{parent}/task/{thread}/children") as file:
                    children += [int(pid) for pid in file.read().split()]
        found += children
        waiting += children
    return found


def _stat_fields(path: str) -> list[bytes]:
    """Return the fields from state (0) on: utime 11, stime 12, threads 17, start 19, rss 21."""
    with open(path, "rb") as file:
        return file.read().rpartition(b")")[2].split()


def _memory_bytes(pid: int, fields: list[bytes], *, is_alone: bool) -> int:
    if fields[0] == b"Z" and int(fields[17]) > 1:  # the first thread has ended and shows no memory
        folder = f"/proc/{pid}/task"
        stats = [_stat_fields(f"{folder}/{thread}/stat") for thread in os.listdir(folder)]
        return max(int(stat[21]) for stat in stats) * _PAGE
    if not is_alone:  # Pss: pages that several processes share are counted once, in parts
        with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    return int(fields[21]) * _PAGE
