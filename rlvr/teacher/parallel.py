"""Many questions at a time, a bounded number of them, and their results as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

__all__ = ["in_parallel"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def in_parallel(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[ResultT]], *, limit: int
) -> AsyncIterator[ResultT]:
    """`await work(item)` of all items, `limit` at a time, in the order in which they end.

    An item is taken when there is room for it. Where one raises, the results of those that are done
    come first, the others are cancelled, and the error is raised.
    """
    waiting = iter(items)
    running: set[asyncio.Future[ResultT]] = set()
    try:
        while True:
            while len(running) < limit and (item := next(waiting, _END)) is not _END:
                running.add(asyncio.ensure_future(work(item)))  # type: ignore[arg-type]
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for result in sorted(done, key=lambda one: one.exception() is not None):
                yield result.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


_END = object()
