"""Waiting that ends when the user wants to stop.

Ctrl-C, SIGTERM --> stop (an asyncio.Event) --> every long wait of launch and loop races against it
before the event loop: KeyboardInterrupt, for both, and never in the middle of Ray's start
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from rlvr.errors import Stopped

__all__ = ["SIGNALS", "in_daemon_thread", "signals_held", "stop_on_signals", "unless_stopped"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

ResultT = TypeVar("ResultT")


async def unless_stopped(
    work: Awaitable[ResultT], stop: asyncio.Event, *, step: int | None
) -> ResultT:
    """The result of `work`; where `stop` is set first, `work` is cancelled and Stopped raised with
    `step`.
    """
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
    """Run `work` beside the event loop; the process may end before it does, which it may not with
    asyncio.to_thread.
    """
    done: Future[ResultT] = Future()
    done.set_running_or_notify_cancel()  # what waits for it may be cancelled, the thread not

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # handed to who waits
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(done)


@contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C or SIGTERM within raises KeyboardInterrupt at the end, where it can do no harm."""
    came: list[int] = []
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def stop_on_signals(say: Callable[[str], None]) -> asyncio.Event:
    """The event that Ctrl-C and SIGTERM set, for the running loop; a second one ends it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()
        say("stopping: what is running is finished or abandoned, and what is done is kept")

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    return stop
