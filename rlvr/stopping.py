"""Waiting that ends when the user wants to stop."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from rlvr.errors import Stopped

__all__ = ["unless_stopped"]

ResultT = TypeVar("ResultT")


async def unless_stopped(
    work: asyncio.Future[ResultT], stop: asyncio.Event, *, step: int
) -> ResultT:
    """The result of `work`; where `stop` is set first, `work` is cancelled and Stopped raised with
    `step`.
    """
    stopping = asyncio.ensure_future(stop.wait())
    try:
        both: set[asyncio.Future[Any]] = {work, stopping}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            work.cancel()
            raise Stopped(step)
        return await work
    finally:
        stopping.cancel()
