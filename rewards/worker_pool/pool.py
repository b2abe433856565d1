"""A pool of child processes that run one job at a time and are killed when they overrun.

    ask(payload) --a free worker, or wait--> result within the deadline            -> its value
                                             else kill, and again on a fresh one   -> its value
                                             else kill, then the control payload on a fresh one:
                                             right -> Outcome.TIMEOUT; wrong -> Outcome.ERROR

Works in the main thread, any thread, asyncio (it blocks: use a thread), a Ray actor and a notebook:
it uses no signals, does not fork this process, and shares no state with a fork of it. The first
`ask` starts the children; they end with this process, however it ends
(rewards.worker_pool.fork_server).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rewards.base import Grade, Outcome

__all__ = ["WorkerPool", "WorkersUnavailable", "shutdown"]

Payload = TypeVar("Payload", bound=Hashable)

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

_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class WorkersUnavailable(RuntimeError):
    """The job cannot be imported."""


def shutdown() -> None:
    """End the child processes of all rewards; the next grading that needs one starts it again."""
    for pool in list(_pools):
        pool.shutdown()


def _reset_pools() -> None:
    for pool in list(_pools):
        pool._reset()


os.register_at_fork(after_in_child=_reset_pools)


class WorkerPool:
    """Runs `job` ("package.module:function", JSON in and out) in killable child processes.

    `control` is a payload whose result is known to be `control_value`.
    """

    def __init__(
        self,
        job: str,
        *,
        control: Any,
        control_value: Any,
        num_workers: int | None = None,
        deadline_s: float = 1.5,
        memory_bytes: int = 2 << 30,
    ) -> None:
        self.deadline_s = deadline_s
        self.num_workers = num_workers or max(2, min(8, (os.cpu_count() or 1) // 2))
        self._job = job
        self._control, self._control_value = control, control_value
        self._memory_bytes = memory_bytes
        self._fork_server: _ForkServer | None = None
        self._reset()
        _pools.add(self)

    @property
    def is_started(self) -> bool:
        """Whether child processes have been started, and not shut down since."""
        return self._fork_server is not None

    def ask(self, payload: Any) -> Any:
        """Return the job's value for a payload; a Grade of TIMEOUT or ERROR if it fails twice.

        Takes at most two deadlines, and one for the control.

        Raises:
            WorkersUnavailable: the job cannot be imported.
        """
        with self._slot() as slot:
            fault = ""
            for _ in range(2):
                reply, fault = self._attempt(slot, payload)
                if reply is not None:
                    return reply["value"]
            control, control_fault = self._attempt(slot, self._control)
        if control is not None and control["value"] == self._control_value:
            return Grade.of(Outcome.TIMEOUT, f"grading it failed twice: {fault}")
        return Grade.of(Outcome.ERROR, f"the control row failed too: {control_fault or fault}")

    def ask_each(self, payloads: Iterable[Payload]) -> dict[Payload, Any]:
        """Return the result of `ask` for each different payload, using all workers."""
        different = list(dict.fromkeys(payloads))
        if len(different) <= 1:
            return {payload: self.ask(payload) for payload in different}
        with ThreadPoolExecutor(min(self.num_workers, len(different))) as threads:
            return dict(zip(different, threads.map(self.ask, different), strict=True))

    def shutdown(self) -> None:
        """End all children once running jobs are done; the next `ask` starts new ones."""
        with contextlib.ExitStack() as stack:
            for slot in self._slots:
                stack.enter_context(slot.lock)
            for slot in self._slots:
                slot.drop()
            with self._fork_server_lock:
                self._end_fork_server()

    def _reset(self) -> None:
        """Forget all children, also in a fork of this process: they belong to its parent."""
        if self._fork_server is not None:
            self._fork_server.abandon()
            self._fork_server = None
        self._fork_server_lock = threading.Lock()
        self._slots = tuple(_Slot() for _ in range(self.num_workers))
        self._free = threading.Semaphore(self.num_workers)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[_Slot]:
        """Lease a slot, preferably one with a running worker."""
        with self._free:
            slots = sorted(self._slots, key=lambda slot: slot.worker is None)
            slot = next((slot for slot in slots if slot.lock.acquire(blocking=False)), None)
            if slot is None:  # another thread is between its lock and the semaphore
                slot = slots[0]
                slot.lock.acquire()
            try:
                yield slot
            except BaseException:  # also Ctrl-C: a reply may still arrive
                self._discard(slot)
                raise
            finally:
                slot.lock.release()

    def _attempt(self, slot: _Slot, payload: Any) -> tuple[dict[str, Any] | None, str]:
        """Return a reply, or None and the reason after killing the worker."""
        try:
            if slot.worker is None:
                slot.worker = self._fork()
            reply = slot.worker.run(payload, self.deadline_s)
        except TimeoutError:
            fault = f"no result within {self.deadline_s:g} s"
        except (OSError, EOFError, ValueError) as error:
            fault = f"the worker died ({type(error).__name__})"
        else:
            if "value" in reply:
                return reply, ""
            fault = str(reply.get("error"))
        self._discard(slot)
        return None, fault

    def _fork(self) -> _PoolWorker:
        with self._fork_server_lock, self._ending_fork_server_on_error():
            if self._fork_server is None:
                atexit.register(self.shutdown)
                self._fork_server = _ForkServer(self._job, self._memory_bytes)
                self._fork_server.wait_until_ready()
            return self._fork_server.fork()

    def _discard(self, slot: _Slot) -> None:
        worker = slot.worker
        slot.drop()
        with self._fork_server_lock, contextlib.suppress(OSError, EOFError, ValueError):
            if worker is not None and self._fork_server is not None:
                with self._ending_fork_server_on_error():
                    self._fork_server.kill(worker.pid)

    @contextlib.contextmanager
    def _ending_fork_server_on_error(self) -> Iterator[None]:
        """End a fork server that breaks the protocol; the next fork starts a new one."""
        try:
            yield
        except (OSError, EOFError, ValueError, WorkersUnavailable):
            self._end_fork_server()
            raise

    def _end_fork_server(self) -> None:
        if self._fork_server is not None:
            self._fork_server.close()
            self._fork_server = None
            atexit.unregister(self.shutdown)


class _Slot:
    """A place for one worker; the lock's owner uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.worker: _PoolWorker | None = None

    def drop(self) -> None:
        if self.worker is not None:
            self.worker.close()
        self.worker = None


class _PoolWorker:
    """Client of one worker."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self._lines = _Lines(connection)
        self._lines.read(_FORK_S)

    def run(self, payload: Any, deadline_s: float) -> dict[str, Any]:
        """Return the worker's reply; raises TimeoutError, or EOFError if the worker died.

        The deadline is in CPU time, and eight times as long in wall time: a busy machine does not
        fail an honest row.
        """
        spent, last = _cpu_s(self.pid), time.monotonic() + _PATIENCE * deadline_s
        self._lines.send(json.dumps(payload).encode() + b"\n", deadline_s)
        left = deadline_s
        while True:
            try:
                return dict(json.loads(self._lines.read(left)))
            except TimeoutError:
                left = min(deadline_s - (_cpu_s(self.pid) - spent), last - time.monotonic())
                if left <= _TICK_S:
                    raise

    def close(self) -> None:
        self._lines.close()


class _ForkServer:
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
        """Wait until the job is imported; raises WorkersUnavailable if it cannot be."""
        error = json.loads(self._control.read(_START_S)).get("error")
        if error is not None:
            raise WorkersUnavailable(f"cannot start workers for {self._job}: {error}")

    def fork(self) -> _PoolWorker:
        """Return a new worker; after any error the fork server is unusable."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._control.send(b"F", _FORK_S, theirs.fileno())
            pid = int(self._control.read(_FORK_S))
        return _PoolWorker(ours, pid)

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
