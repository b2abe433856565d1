"""Several endpoints: which one is called next, and who waits for one.

Calls are shared out by weight among those that may be called. So many are in flight at most that
the shares hold also where all are busy: weights 9 and 1 with 16 at a time each make 17, not 32.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from rlvr.teacher.endpoint import CallFailed, Endpoint, NoEndpointLeft

__all__ = ["EndpointPool"]


class EndpointPool:
    """Deals out calls by weight among those endpoints that have room."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        weights = sum(one.weight for one in endpoints)
        shares = [one.section.concurrency * weights / one.weight for one in endpoints]
        self.limit = max(1, int(min(shares) + 1e-6))
        self._changed = asyncio.Condition()

    def left(self, without: Collection[Endpoint] = ()) -> list[Endpoint]:
        """Those that are not given up."""
        return [one for one in self.endpoints if one.given_up is None and one not in without]

    @asynccontextmanager
    async def calling(self, *, without: Collection[Endpoint] = ()) -> AsyncIterator[Endpoint]:
        """Hold a call's place at an endpoint, and tell it how the call went.

        Raises:
            NoEndpointLeft: where all are given up.
        """
        endpoint = await self._take(without)
        try:
            yield endpoint
        except CallFailed as failure:
            endpoint.failed(failure, time.monotonic())
            raise
        else:
            endpoint.answered()
        finally:
            endpoint.end()
            async with self._changed:
                self._changed.notify_all()

    async def _take(self, without: Collection[Endpoint]) -> Endpoint:
        async with self._changed:
            while True:
                left = self.left(without) or self.left()
                if not left:
                    raise NoEndpointLeft(self._why())
                now = time.monotonic()
                is_full = sum(one.in_flight for one in self.endpoints) >= self.limit
                with_room = [] if is_full else [one for one in left if one.has_room()]
                ready = [one for one in with_room if one.ready_at() <= now]
                if ready:
                    endpoint = min(ready, key=lambda one: (one.num_started + 1) / one.weight)
                    endpoint.start(now)
                    return endpoint
                await self._wait(min((one.ready_at() for one in with_room), default=None), now)

    async def _wait(self, until: float | None, now: float) -> None:
        """For a call that ends, and at most until an endpoint may be called again."""
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - now)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _why(self) -> str:
        reasons = "; ".join(f"{one.name}: {one.given_up}" for one in self.endpoints)
        return f"no endpoint is left: {reasons}"
