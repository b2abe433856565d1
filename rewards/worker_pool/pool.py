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
import os
import threading
import weakref
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rewards.base import Grade, Outcome
from rewards.worker_pool.worker_client import ForkServer, PoolWorker, WorkersUnavailable

__all__ = ["WorkerPool", "WorkersUnavailable", "shutdown"]

Payload = TypeVar("Payload", bound=Hashable)

_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


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
        self._fork_server: ForkServer | None = None
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
        for slot in self._slots:
            slot.lock.acquire()
        try:
            for slot in self._slots:
                slot.drop()
            with self._fork_server_lock:
                self._end_fork_server()
        finally:
            for slot in self._slots:
                slot.lock.release()

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

    def _fork(self) -> PoolWorker:
        with self._fork_server_lock, self._ending_fork_server_on_error():
            if self._fork_server is None:
                atexit.register(self.shutdown)
                self._fork_server = ForkServer(self._job, self._memory_bytes)
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
        self.worker: PoolWorker | None = None

    def drop(self) -> None:
        if self.worker is not None:
            self.worker.close()
        self.worker = None
