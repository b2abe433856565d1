"""A pool of child processes that run one job at a time and are killed when they overrun.

    ask(payload) --a free worker, or wait--> reply within the deadline            -> its value
                                             else kill, and again on a fresh one  -> its value
                                             else kill, then the control payload on a fresh one:
                                                  right -> Failure.OWN_FAULT; wrong -> BROKEN

Works from the main thread, any thread, asyncio (it blocks: use a thread), a Ray actor and a
notebook: no signal, no fork of this process, no state that a fork of it would share. Nothing is
started before the first `ask`. Children end with this process, however it ends (see
rewards.worker_pool.fork_server).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rewards.worker_pool.child_process import ForkServer, Worker, WorkersUnavailable

__all__ = ["Failure", "Reply", "WorkerPool", "WorkersUnavailable", "shutdown"]


class Failure(StrEnum):
    """Why there is no value."""

    OWN_FAULT = "own_fault"  # the payload ended two workers while the control passed
    BROKEN = "broken"  # the control failed as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a payload."""

    value: Any = None
    failure: Failure | None = None  # None: there is a value
    reason: str = ""  # of a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An honest payload whose value is known."""

    payload: Any
    value: Any


_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


def shutdown() -> None:
    """End the child processes of all rewards; the next grading that needs one starts it again."""
    for pool in list(_pools):
        pool.shutdown()


class WorkerPool:
    """Runs `job` ("package.module:function", JSON in and out) in killable children."""

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
        self._control = Control(payload=control, value=control_value)
        self._memory_bytes = memory_bytes
        self._fork_server: ForkServer | None = None
        self._forget()
        _pools.add(self)
        os.register_at_fork(after_in_child=_forgetting(weakref.ref(self)))

    @property
    def is_started(self) -> bool:
        """Has a child process been started (and not been shut down)?"""
        return self._fork_server is not None

    def ask(self, payload: Any) -> Reply:
        """Run the job on one payload; at most two deadlines, and one for the control.

        Raises:
            WorkersUnavailable: the job cannot be imported.
        """
        with self._slot() as slot:
            why = ""
            for _ in range(2):
                reply, why = self._attempt(slot, payload)
                if reply is not None:
                    return Reply(value=reply["value"])
            control, control_why = self._attempt(slot, self._control.payload)
        if control is not None and control["value"] == self._control.value:
            return Reply(failure=Failure.OWN_FAULT, reason=f"grading it failed twice: {why}")
        return Reply(
            failure=Failure.BROKEN, reason=f"the control row failed too: {control_why or why}"
        )

    def ask_all(self, payloads: Sequence[Any]) -> list[Reply]:
        """`ask` for each payload, on all workers at once; replies in order."""
        if len(payloads) <= 1:
            return [self.ask(payload) for payload in payloads]
        with ThreadPoolExecutor(min(self.num_workers, len(payloads))) as threads:
            return list(threads.map(self.ask, payloads))

    def shutdown(self) -> None:
        """End all children; the next `ask` starts anew. Waits for jobs that run."""
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

    def _forget(self) -> None:
        """Start from nothing: also in a fork of this process, whose children are not ours."""
        if self._fork_server is not None:
            self._fork_server.abandon()
            self._fork_server = None
        self._fork_server_lock = threading.Lock()
        self._slots = tuple(_Slot() for _ in range(self.num_workers))
        self._free = threading.Semaphore(self.num_workers)

    @contextlib.contextmanager
    def _slot(self) -> Iterator[_Slot]:
        """Lease a slot; one with a living worker before one without."""
        with self._free:
            by_life = sorted(self._slots, key=lambda slot: slot.worker is None)
            slot = next((slot for slot in by_life if slot.lock.acquire(blocking=False)), None)
            if slot is None:  # another thread is between its lock and the semaphore
                slot = by_life[0]
                slot.lock.acquire()
            try:
                yield slot
            except BaseException:  # also Ctrl-C: a reply may still be under way
                self._discard(slot)
                raise
            finally:
                slot.lock.release()

    def _attempt(self, slot: _Slot, payload: Any) -> tuple[dict[str, Any] | None, str]:
        """A reply, or why there is none; the worker is dead then."""
        try:
            if slot.worker is None:
                slot.worker = self._fork()
            reply = slot.worker.run(payload, self.deadline_s)
        except TimeoutError:
            why = f"no result within {self.deadline_s:g} s"
        except (OSError, EOFError, ValueError) as error:
            why = f"the worker died ({type(error).__name__})"
        else:
            if "value" in reply:
                return reply, ""
            why = str(reply.get("error"))
        self._discard(slot)
        return None, why

    def _fork(self) -> Worker:
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
        """A fork server that did not answer as agreed is not asked again: the next fork makes
        one.
        """
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
    """A place for one worker."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.worker: Worker | None = None

    def drop(self) -> None:
        if self.worker is not None:
            self.worker.close()
        self.worker = None


def _forgetting(pool: weakref.ref[WorkerPool]) -> Callable[[], None]:
    def forget() -> None:
        living = pool()
        if living is not None:
            living._forget()

    return forget
