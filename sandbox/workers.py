"""Worker processes as seen by the supervisor: started on demand, one job at a time, replaced.

threads of the caller --> SandboxPool.borrow --> WorkerProcess.execute(job) --> JobOutcome

The supervisor holds the other ends of a job's pipes, keeps a bounded part of their data, and kills
a worker that does not answer in time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.cgroups import Cgroup
from sandbox.inside.protocol import Done, Job, Kind, receive
from sandbox.verdicts import SandboxUnavailable

__all__ = ["JobOutcome", "SandboxPool", "WorkerLost", "WorkerProcess"]

_START_S = 20.0
_MAX_JOBS = 1000  # per worker
_CHUNK = 1 << 16
_HERE = Path(__file__).parent
_INTERPRETER = getattr(sys, "_base_executable", None) or sys.executable  # no environment's link
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENSSL_CONF": "/dev/null",  # node fails if it may not read the system's
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TMPDIR": "/tmp",
}
_START = """
import sys, types
package = types.ModuleType("sandbox"); package.__path__ = [sys.argv[2]]
sys.modules["sandbox"] = package; sys.path[:] = [p for p in sys.path if p]
from sandbox.inside.worker import main
main()
"""  # a bare package: the supervisor's modules are not loaded into the worker


class WorkerLost(RuntimeError):
    """The worker ended or broke the protocol while a job ran."""


@dataclass(slots=True, kw_only=True)
class JobOutcome:
    """Facts about a job, without a verdict."""

    done: Done | None = None  # None: the worker was killed with the job
    kept: list[bytearray] = field(default_factory=list)  # the data of each stream
    flooded: int | None = None  # index of the stream that exceeded its limit
    files: list[int] = field(default_factory=list)  # descriptors
    is_out_of_memory: bool = False  # the kernel killed for the control group's limit


class WorkerProcess:
    """A process that forks jobs; not safe for concurrent use."""

    def __init__(self, tier: str, *, scratch_root: str) -> None:
        """Raises SandboxUnavailable with the worker's message if it cannot enter the tier."""
        self._num_jobs = 0
        self.may_fork = tier != "landlock"
        folder = "" if tier == "namespaces" else tempfile.mkdtemp("", "sandbox-", scratch_root)
        self._folder = folder
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = {"tier": tier, "channel": theirs.fileno(), "folder": folder}
        command = [_INTERPRETER, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", _START]
        with theirs:
            self._process = subprocess.Popen(
                [*command, json.dumps(settings), str(_HERE)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._cgroup = Cgroup.make(self._process.pid)
        try:
            self.description = self._read_description()
        except BaseException:
            self.close()
            raise

    def execute(
        self, job: Job, fds: Sequence[int], streams: Mapping[int, int], *, deadline_s: float
    ) -> JobOutcome:
        """Run a job until all its processes have ended; raises WorkerLost if the worker ends.

        `fds` are payload, stdin, stdout, stderr, result, ...; all but the first two are closed as
        soon as they are sent. `streams` maps the read end of each pipe to the bytes to keep of it.
        """
        self._num_jobs += 1
        try:
            if self._cgroup is not None:
                self._cgroup.limit(memory_bytes=job.memory_bytes, processes=job.processes)
            socket.send_fds(self._channel, [job.pack()], fds)
        except OSError as error:
            raise WorkerLost(f"the worker ended before its job began: {error}") from error
        finally:
            for fd in fds[2:]:
                os.close(fd)
        outcome = _JobMonitor(self, self._channel, streams).run(time.monotonic() + deadline_s)
        if outcome.done and outcome.done.wait_status == signal.SIGKILL and self._cgroup is not None:
            outcome.is_out_of_memory = self._cgroup.has_killed()
        return outcome

    def is_worn(self) -> bool:
        """Return whether a new worker should replace this one."""
        return self._num_jobs >= _MAX_JOBS or self._process.returncode is not None

    def close(self) -> None:
        """End the worker and its job; returns when none of its processes is alive."""
        self.forget()
        self._process.terminate()
        self._process.wait()
        if self._cgroup is not None:
            self._cgroup.remove()
        with contextlib.suppress(OSError):  # the guardian, if there was one, has removed it
            os.rmdir(self._folder)

    def forget(self) -> None:
        """Close the channel only, as a forked copy of this process must."""
        self._channel.close()

    def has_message(self, *, wait_s: float = 0.0) -> bool:
        """Return whether a message or an end of file arrives; between two jobs there is none."""
        poll = select.poll()  # select() cannot handle descriptors above 1023
        poll.register(self._channel, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def _read_description(self) -> dict[str, Any]:
        message = receive(self._channel)[0] if self.has_message(wait_s=_START_S) else b""
        if message[:1] == bytes([Kind.READY]):
            return {**json.loads(message[1:]), "has_cgroup": self._cgroup is not None}
        reason = message[1:].decode(errors="replace")
        raise SandboxUnavailable(reason or "a worker ended or hung while it started")


class _JobMonitor:
    """Reads a job's streams and the worker's messages until the job has ended."""

    def __init__(
        self, worker: WorkerProcess, channel: socket.socket, streams: Mapping[int, int]
    ) -> None:
        self._worker, self._channel = worker, channel
        self._outcome = JobOutcome(kept=[bytearray() for _ in streams])
        self._open = {fd: (i, limit) for i, (fd, limit) in enumerate(streams.items())}
        self._poll = select.poll()
        for fd in (channel.fileno(), *streams):
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)

    def run(self, deadline: float) -> JobOutcome:
        while self._outcome.done is None:
            left_s = deadline - time.monotonic()
            ready = self._poll.poll(max(0.0, left_s * 1000))
            if left_s <= 0:
                self._worker.close()
                break
            for fd, _ in ready:
                if fd == self._channel.fileno():
                    self._read_worker()
                else:
                    self._read_stream(fd)
        for fd in list(self._open):  # all writers are dead, but an end of file may not come:
            while self._read_stream(fd):  # a fork of this process may hold the other end open
                pass
        return self._outcome

    def _read_worker(self) -> None:
        try:
            message, fds = receive(self._channel)
        except BlockingIOError:
            return
        except OSError as error:
            raise WorkerLost(f"the channel to a worker broke: {error}") from error
        self._outcome.files = fds
        if message[:1] != bytes([Kind.DONE]):
            raise WorkerLost("a worker ended while a job ran" if not message else "bad message")
        self._outcome.done = Done.unpack(message)

    def _read_stream(self, fd: int) -> bool:
        """Read a chunk; returns False if there was none."""
        number, limit = self._open[fd]
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            del self._open[fd]
            self._poll.unregister(fd)
            return False
        kept = self._outcome.kept[number]
        if self._outcome.flooded is None:
            kept += chunk[: limit - len(kept) + 1]
            if len(kept) > limit:
                del kept[limit:]
                self._outcome.flooded = number
                with contextlib.suppress(OSError):
                    self._channel.send(bytes([Kind.KILL]))
        return True


class SandboxPool:
    """At most `size` workers of one tier; threads wait for a free one."""

    def __init__(self, tier: str, *, size: int | None = None) -> None:
        self.tier = tier
        self.size = size or max(2, len(os.sched_getaffinity(0)))
        self._idle: list[WorkerProcess] = []
        self._num_borrowed = 0
        self._is_closed = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def borrow(self, count: int = 1) -> Iterator[list[WorkerProcess]]:
        """Borrow `count` workers; after an exception they are closed, not reused."""
        assert count <= self.size
        with self._changed:
            self._changed.wait_for(lambda: self._num_borrowed + count <= self.size)
            self._num_borrowed += count
            taken = [self._idle.pop() for _ in range(min(count, len(self._idle)))]
        workers = [worker for worker in taken if not worker.has_message()]
        for worker in taken:
            if worker not in workers:
                worker.close()
        kept: list[WorkerProcess] = []
        try:
            scratch_root = os.environ.get("SANDBOX_SCRATCH") or tempfile.gettempdir()
            while len(workers) < count:
                workers.append(WorkerProcess(self.tier, scratch_root=scratch_root))
            yield workers
            kept = [] if self._is_closed else [w for w in workers if not w.is_worn()]
        finally:
            with self._changed:
                self._num_borrowed -= count
                self._idle += kept
                self._changed.notify_all()
            for worker in workers:
                if worker not in kept:
                    worker.close()

    def close(self) -> None:
        """End the idle workers; the others end with their job."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()

    def forget(self) -> None:
        """Drop the workers without ending them: after a fork they belong to the parent."""
        for worker in self._idle:
            worker.forget()
        self._idle = []
