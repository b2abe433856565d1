"""Nothing that a run has started on this machine outlives it, however it ends.

    driver --a pipe, which the kernel closes when the driver ends--> watcher --SIGKILL--> the rest

Ray ends its processes when the driver is killed, but two of its agents wait a minute for an answer
from a server that is dead. The watcher is this file run as a program, in a session of its own, so
that Ctrl-C does not reach it. It knows what belongs to the run by a mark in the environment, which
Ray's processes, the actors and their children inherit. It looks at each process while it is young:
those that change their title (`ray::...`) write it over their environment.
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

__all__ = ["no_orphans", "with_mark"]

MARK = "RLVR_RUN"
TICK_S = 0.2
NUM_LOOKS = 10  # at a new process: between fork and exec it still has its parent's environment
GRACE_S = 3.0  # Ray's own way of ending takes two
GIVE_UP_S = 10.0

Process = tuple[int, str]  # process id, start time


@contextlib.contextmanager
def no_orphans() -> Iterator[None]:
    """All that is started within ends with it, or with this process (where there is a /proc)."""
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
    """The value of `MARK` for what is started now: whoever watches over us watches over it, too."""
    return ":".join([*filter(None, [os.environ.get(MARK)]), mark])


def _watch(mark: str) -> None:
    """Gather the run's processes until the pipe is closed; then see that they end."""
    looks: Counter[int] = Counter()
    ours: set[Process] = set()
    while not select.select([sys.stdin], [], [], TICK_S)[0]:
        ours |= _new_ones(mark, looks)
    ended_at = time.monotonic()
    while time.monotonic() - ended_at < GIVE_UP_S:
        ours = {process for process in ours | _new_ones(mark, looks) if _is_alive(process)}
        if not ours:
            return
        if time.monotonic() - ended_at > GRACE_S:
            for process_id, _ in ours:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process_id, signal.SIGKILL)
        time.sleep(TICK_S)


def _new_ones(mark: str, looks: Counter[int]) -> set[Process]:
    """Processes with the mark among those that have not been looked at often enough."""
    there = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
    for gone in looks.keys() - there:
        del looks[gone]
    found = set()
    for process_id in there:
        if looks[process_id] < NUM_LOOKS:
            looks[process_id] += 1
            with contextlib.suppress(OSError):
                if mark in _marks(process_id):
                    found.add((process_id, _stat(process_id)[19]))
    return found


def _marks(process_id: int) -> list[str]:
    entries = Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0")
    prefix = f"{MARK}=".encode()
    found = [entry[len(prefix) :].decode() for entry in entries if entry.startswith(prefix)]
    return found[0].split(":") if found else []


def _is_alive(process: Process) -> bool:
    """The same process, and not a zombie."""
    try:
        stat = _stat(process[0])
    except OSError:
        return False
    return stat[19] == process[1] and stat[0] not in "ZX"


def _stat(process_id: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; [0] is the state, [19] the start time."""
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()


if __name__ == "__main__":
    _watch(sys.argv[1])
