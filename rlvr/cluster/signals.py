"""Waits that end when the user stops the run.

Ctrl-C, SIGTERM --> stop (an asyncio.Event) --> ends every long wait in launch and loop
before the event loop: KeyboardInterrupt for both, but never in the middle of Ray's start
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from rlvr.errors import Stopped

__all__ = [
    "SIGNALS",
    "exit_process",
    "in_daemon_thread",
    "signals_held",
    "stop_on_signals",
    "unless_stopped",
]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

ResultT = TypeVar("ResultT")


async def unless_stopped(
    work: Awaitable[ResultT], stop: asyncio.Event, *, step: int | None
) -> ResultT:
    """Return the result of `work`; when `stop` is set, cancel it and raise Stopped(step)."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        both: set[asyncio.Future[Any]] = {working, stopping}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            raise Stopped(step)
        return await working
    finally:
        stopping.cancel()
        working.cancel()


def in_daemon_thread(work: Callable[[], ResultT]) -> asyncio.Future[ResultT]:
    """Run `work` in a thread; unlike asyncio.to_thread, the process may exit before it ends."""
    done: Future[ResultT] = Future()
    done.set_running_or_notify_cancel()  # the awaiting task may be cancelled, the thread not

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # raised where the result is awaited
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(done)


def exit_process(status: int) -> NoReturn:
    """End this process, also while a daemon thread is at work.

    sys.exit ends such a thread in the middle of its call, and one that is in C++ (torch) aborts the
    process. With a daemon thread, exit functions run here and the interpreter is not torn down.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


@contextmanager
def signals_held() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM to the end of the block, then raise KeyboardInterrupt."""
    received: list[int] = []
    before = {n: signal.signal(n, lambda number, _: received.append(number)) for n in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


def stop_on_signals(notify: Callable[[str], None]) -> asyncio.Event:
    """Return an event that Ctrl-C and SIGTERM set; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()
        notify("stopping: running work is finished or abandoned, finished work is kept")

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    return stop
