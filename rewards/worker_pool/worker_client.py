"""Clients of the fork server and its workers, in the parent process; each wait has a deadline."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["ForkServer", "PoolWorker", "WorkersUnavailable"]

_START_S = 120.0  # for the fork server's imports on a busy machine
_FORK_S = 20.0
_PATIENCE = 8.0  # enough for a worker that gets an eighth of a core
_TICK_S = 0.02  # resolution of the kernel's CPU times
_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from rewards.worker_pool.fork_server import main
main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
"""


class WorkersUnavailable(RuntimeError):
    """The job cannot be imported."""


class PoolWorker:
    """Client of one worker."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self._lines = _Lines(connection)
        self._lines.read(_FORK_S)

    def run(self, payload: Any, deadline_s: float) -> dict[str, Any]:
        """Return the worker's reply.

        The deadline is in CPU time, and eight times as long in wall time: a busy machine does not
        fail an honest row.

        Raises:
            TimeoutError: no reply by the deadline.
            EOFError: the worker died.
        """
        spent, last = _cpu_s(self.pid), time.monotonic() + _PATIENCE * deadline_s
        self._lines.send(json.dumps(payload).encode() + b"\n", deadline_s)
        left = deadline_s
        while True:
            try:
                reply: dict[str, Any] = json.loads(self._lines.read(left))
                return reply
            except TimeoutError:
                left = min(deadline_s - (_cpu_s(self.pid) - spent), last - time.monotonic())
                if left <= _TICK_S:
                    raise

    def close(self) -> None:
        self._lines.close()


class ForkServer:
    """Client of the process that forks the workers; not thread-safe."""

    def __init__(self, job: str, memory_bytes: int) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = json.dumps([entry or os.getcwd() for entry in [*sys.path, root]])
        fixed = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"}
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [path, theirs.fileno(), os.getpid(), job, memory_bytes]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **fixed, "PYTHONWARNINGS": "ignore"},
                start_new_session=True,  # Ctrl-C is for the parent
            )
        self._job = job
        self._control = _Lines(ours)

    def wait_until_ready(self) -> None:
        """Wait until the job is imported.

        Raises:
            WorkersUnavailable: the job cannot be imported.
            EOFError: the process died.
        """
        error = json.loads(self._control.read(_START_S)).get("error")
        if error is not None:
            raise WorkersUnavailable(f"cannot start workers for {self._job}: {error}")

    def fork(self) -> PoolWorker:
        """Return a new worker; after any error the fork server is unusable."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._control.send(b"F", _FORK_S, theirs.fileno())
            pid = int(self._control.read(_FORK_S))
        return PoolWorker(ours, pid)

    def kill(self, pid: int) -> None:
        self._control.send(b"K%d" % pid, _FORK_S)
        self._control.read(_FORK_S)

    def abandon(self) -> None:
        """Release it without ending it, in a fork of its parent."""
        self._control.close()
        self._process.returncode = 0

    def close(self) -> None:
        """End the fork server and its workers."""
        self._control.close()
        try:
            self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Lines:
    """Lines over a socket, with a deadline per call."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def send(self, data: bytes, deadline_s: float, *descriptors: int) -> None:
        self._connection.settimeout(deadline_s)
        if descriptors:
            socket.send_fds(self._connection, [data], descriptors)
        else:
            self._connection.sendall(data)

    def read(self, deadline_s: float) -> bytes:
        end = time.monotonic() + deadline_s
        while b"\n" not in self._buffer:
            self._connection.settimeout(max(end - time.monotonic(), 1e-4))
            received = self._connection.recv(65536)
            if not received:
                raise EOFError
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        self._connection.close()


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process; wall time without Linux's /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
