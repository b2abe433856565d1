"""Worker processes seen from outside: started when needed, one job at a time each, replaced.

threads of the caller --> Pool.borrow --> Worker.execute(job) --> Outcome

The supervisor holds the other ends of a job's pipes, keeps a bounded part of what comes through
them, and kills a worker that does not answer in time.
"""

from __future__ import annotations

import array
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.cgroups import Cgroup
from sandbox.inside.protocol import MAX_FDS, MAX_MESSAGE_BYTES, Done, Job, Kind
from sandbox.verdicts import SandboxUnavailable

__all__ = ["Outcome", "Pool", "Streams", "Worker", "WorkerLost"]

_START_S = 20.0
_MAX_JOBS = 1000  # then a fresh worker takes its place
_CHUNK = 1 << 16
_HERE = Path(__file__).parent
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENSSL_CONF": "/dev/null",  # node gives up where it may not read the system's
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
"""  # a bare package: what the supervisor needs is not loaded into the worker


class WorkerLost(RuntimeError):
    """The worker ended or broke the protocol while a job ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Read ends of a job's pipes and what may be kept of each."""

    fds: Sequence[int]
    keep_bytes: Sequence[int]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Facts about a job; nothing here is a verdict."""

    done: Done | None = None  # None: the worker had to be killed with the job
    kept: list[bytearray] = field(default_factory=list)  # of each stream
    flooded: int | None = None  # the stream that was over what is kept
    files: list[int] = field(default_factory=list)  # descriptors
    is_out_of_memory: bool = False  # the kernel killed for its control group's limit


class Worker:
    """One process that forks jobs; not for two threads at once."""

    def __init__(self, tier: str, *, scratch_root: str) -> None:
        """Raises SandboxUnavailable with the worker's own words where it cannot be entered."""
        self.num_jobs = 0
        self.may_fork = tier != "landlock"
        folder = "" if tier == "namespaces" else tempfile.mkdtemp("", "sandbox-", scratch_root)
        self._folder = folder
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = {"tier": tier, "channel": theirs.fileno(), "folder": folder}
        command = [_interpreter(), "-s", "-S", "-P", "-B", "-X", "utf8", "-c", _START]
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
        self._cgroup = _grouped(self._process.pid)
        try:
            self.description = self._greeting()
        except BaseException:
            self.close()
            raise

    def execute(
        self, job: Job, fds: Sequence[int], streams: Streams, *, deadline_s: float
    ) -> Outcome:
        """Run a job to its end, and the end of all its processes.

        `fds`: payload, stdin, stdout, stderr, result, ...; they stay the caller's to close, and
        the write ends among them are closed here as soon as they are sent.

        Raises:
            WorkerLost: it is gone, and not because it was too slow.
        """
        self.num_jobs += 1
        outcome = Outcome(kept=[bytearray() for _ in streams.fds])
        try:
            if self._cgroup is not None:
                self._cgroup.limit(memory_bytes=job.memory_bytes, processes=job.processes)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            self._channel.sendmsg([job.pack()], rights)
        except OSError as error:
            raise WorkerLost(f"a worker was gone before its job began: {error}") from error
        finally:
            for fd in fds[2:]:
                os.close(fd)
        _Listening(self, streams, outcome, time.monotonic() + deadline_s).run()
        if outcome.done and outcome.done.wait_status == signal.SIGKILL and self._cgroup is not None:
            outcome.is_out_of_memory = self._cgroup.has_killed()
        return outcome

    def is_worn(self) -> bool:
        """Whether a fresh one should take its place."""
        return self.num_jobs >= _MAX_JOBS or self._process.returncode is not None

    def is_waiting(self) -> bool:
        """Whether it is there and silent, as it is between two jobs."""
        return not self._speaks_within(0)

    def _speaks_within(self, wait_s: float) -> bool:
        poll = select.poll()  # select() itself knows no descriptor above 1023
        poll.register(self._channel, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def ask_to_kill(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(bytes([Kind.KILL]))

    def close(self) -> None:
        """End it with the job that it runs; returns when no process of it is alive."""
        self.forget()
        self._process.terminate()
        self._process.wait()
        if self._cgroup is not None:
            self._cgroup.remove()
        with contextlib.suppress(OSError):  # its guardian has removed it, if there was one
            os.rmdir(self._folder)

    def forget(self) -> None:
        """Let go of the channel, as a forked copy of this process must."""
        self._channel.close()

    def fileno(self) -> int:
        return self._channel.fileno()

    def receive(self) -> tuple[bytes, list[int]]:
        size = socket.CMSG_SPACE(MAX_FDS * 4)
        message, ancillary, _, _ = self._channel.recvmsg(MAX_MESSAGE_BYTES, size)
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        return message, list(fds)

    def _greeting(self) -> dict[str, Any]:
        message = self.receive()[0] if self._speaks_within(_START_S) else b""
        if message[:1] == bytes([Kind.READY]):
            return {**json.loads(message[1:]), "has_cgroup": self._cgroup is not None}
        reason = message[1:].decode(errors="replace")
        raise SandboxUnavailable(reason or "a worker ended or hung while it started")


class _Listening:
    """Everything that is to be heard of one job until it is over."""

    def __init__(self, worker: Worker, streams: Streams, outcome: Outcome, deadline: float) -> None:
        self._worker, self._streams, self._outcome = worker, streams, outcome
        self._deadline = deadline
        self._open = {fd: number for number, fd in enumerate(streams.fds)}
        self._poll = select.poll()
        for fd in (worker.fileno(), *streams.fds):
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)

    def run(self) -> None:
        while self._outcome.done is None:
            left_s = self._deadline - time.monotonic()
            ready = self._poll.poll(max(0.0, left_s * 1000))
            if left_s <= 0:
                self._worker.close()
                break
            for fd, _ in ready:
                if fd == self._worker.fileno():
                    self._hear_worker()
                else:
                    self._hear_stream(fd)
        for fd in list(self._open):  # who could write is dead; an end of file may still not come:
            while self._hear_stream(fd):  # a fork of this process may hold a copy of the other end
                pass

    def _hear_worker(self) -> None:
        try:
            message, fds = self._worker.receive()
        except BlockingIOError:
            return
        except OSError as error:
            raise WorkerLost(f"a worker's channel broke: {error}") from error
        self._outcome.files = fds
        if message[:1] != bytes([Kind.DONE]):
            raise WorkerLost("a worker ended while a job ran" if not message else "bad message")
        self._outcome.done = Done.unpack(message)

    def _hear_stream(self, fd: int) -> bool:
        """Whether there was something."""
        number = self._open[fd]
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            del self._open[fd]
            self._poll.unregister(fd)
            return False
        kept, limit = self._outcome.kept[number], self._streams.keep_bytes[number]
        if self._outcome.flooded is None:
            kept += chunk[: limit - len(kept) + 1]
            if len(kept) > limit:
                del kept[limit:]
                self._outcome.flooded = number
                self._worker.ask_to_kill()
        return True


class Pool:
    """At most `size` workers of one tier; threads wait for one to be free."""

    def __init__(self, tier: str, *, size: int | None = None) -> None:
        self.tier = tier
        self.size = size or max(2, len(os.sched_getaffinity(0)))
        self._idle: list[Worker] = []
        self._num_borrowed = 0
        self._is_closed = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def borrow(self, count: int = 1) -> Iterator[list[Worker]]:
        """`count` workers at once; one in which an exception ended the job is not used again."""
        assert count <= self.size
        with self._changed:
            self._changed.wait_for(lambda: self._num_borrowed + count <= self.size)
            self._num_borrowed += count
            taken = [self._idle.pop() for _ in range(min(count, len(self._idle)))]
        workers = [worker for worker in taken if worker.is_waiting()]
        for worker in taken:
            if worker not in workers:
                worker.close()
        try:
            while len(workers) < count:
                workers.append(self.start_worker())
            yield workers
        except BaseException:
            self._give_back(count, [])
            for worker in workers:
                worker.close()
            raise
        kept = [] if self._is_closed else [w for w in workers if not w.is_worn()]
        self._give_back(count, kept)
        for worker in workers:
            if worker not in kept:
                worker.close()

    def start_worker(self) -> Worker:
        return Worker(self.tier, scratch_root=_scratch_root())

    def close(self) -> None:
        """End the workers that are idle; those at work end when their job does."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()

    def forget(self) -> None:
        """After a fork: the workers are the parent's."""
        for worker in self._idle:
            worker.forget()
        self._idle = []

    def _give_back(self, count: int, workers: Sequence[Worker]) -> None:
        with self._changed:
            self._num_borrowed -= count
            self._idle += workers
            self._changed.notify_all()


def _grouped(pid: int) -> Cgroup | None:
    """The process in a control group of its own, where that can be."""
    cgroup = Cgroup.make()
    if cgroup is None:
        return None
    try:
        cgroup.add(pid)
    except OSError:
        cgroup.remove()
        return None
    return cgroup


def _interpreter() -> str:
    """The interpreter itself, not a virtual environment's link to it."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _scratch_root() -> str:
    return os.environ.get("SANDBOX_SCRATCH") or tempfile.gettempdir()
