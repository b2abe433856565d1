"""Kill every process that a run started on this machine when the run ends, however it ends.

    driver --a pipe, which the kernel closes when the driver ends--> watcher --SIGKILL--> the rest

Two of Ray's agents wait a minute for a dead server. The watcher is this file run as a program, in
its own session, so that Ctrl-C does not reach it. It finds the run's processes by a mark in the
environment that they inherit. It inspects each process in its first two seconds, because
processes that change their title (`ray::...`) overwrite their environment.

A resource tracker of multiprocessing deletes the shared memory and semaphores of its process, once
that is dead; so it is killed last.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

__all__ = ["no_orphans", "process_stat", "with_mark"]

MARK = "RLVR_RUN"
TICK_S = 0.2
NUM_LOOKS = 10  # per new process: between fork and exec it has its parent's environment
GRACE_S = 3.0  # Ray takes two to end by itself
TRACKER_GRACE_S = 8.0
GIVE_UP_S = 10.0

Process = tuple[int, str]  # process id, start time


@contextlib.contextmanager
def no_orphans() -> Iterator[None]:
    """End all processes started in the block with it, or with this process (needs /proc)."""
    mark = uuid.uuid4().hex
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    before = os.environ.get(MARK)
    os.environ[MARK] = with_mark(mark)
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before
        watcher.communicate()


def with_mark(mark: str) -> str:
    """Return the value of `MARK` for new processes: the marks of this process, and `mark`."""
    return ":".join([*filter(None, [os.environ.get(MARK)]), mark])


def _watch(mark: str) -> None:
    """Collect the run's processes until the pipe closes; then wait for them, and kill the rest."""
    looks: Counter[int] = Counter()
    found: set[Process] = set()
    while not select.select([sys.stdin], [], [], TICK_S)[0]:
        found |= _new_processes(mark, looks)
    ended_at = time.monotonic()
    while time.monotonic() - ended_at < GIVE_UP_S:
        found = {process for process in found | _new_processes(mark, looks) if _is_alive(process)}
        if not found:
            return
        waited_s = time.monotonic() - ended_at
        for process_id, _ in found:
            if waited_s > (TRACKER_GRACE_S if _is_tracker(process_id) else GRACE_S):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process_id, signal.SIGKILL)
        time.sleep(TICK_S)


def _new_processes(mark: str, looks: Counter[int]) -> set[Process]:
    """Return the marked processes among those inspected fewer than NUM_LOOKS times."""
    running = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
    for ended in looks.keys() - running:
        del looks[ended]
    found = set()
    for process_id in running:
        if looks[process_id] < NUM_LOOKS:
            looks[process_id] += 1
            with contextlib.suppress(OSError):
                if mark in _marks(process_id):
                    found.add((process_id, process_stat(process_id)[19]))
    return found


def _marks(process_id: int) -> list[str]:
    entries = Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0")
    prefix = f"{MARK}=".encode()
    values = [entry.removeprefix(prefix) for entry in entries if entry.startswith(prefix)]
    return values[0].decode().split(":") if values else []


def _is_tracker(process_id: int) -> bool:
    with contextlib.suppress(OSError):
        return (
            b"multiprocessing.resource_tracker" in Path(f"/proc/{process_id}/cmdline").read_bytes()
        )
    return False


def _is_alive(process: Process) -> bool:
    try:
        stat = process_stat(process[0])
    except OSError:
        return False
    return stat[19] == process[1] and stat[0] not in "ZX"


def process_stat(process_id: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name: [0] state, [19] start time."""
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()


if __name__ == "__main__":
    _watch(sys.argv[1])
