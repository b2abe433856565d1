"""A model's replicas, as the router asks them: in turns, by Ray Serve.

async with arm.ask("/v1/chat/completions", body) as answer: ...

Where a replica dies, the next one is asked; while there is none, a request waits for the one that
Ray Serve puts in its place. What had begun to stream is not asked again, for its beginning has gone
out already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rlvr.errors import RLVRError
from rlvr.serving.replica import SILENCE_S, Reply

__all__ = ["Answer", "Arm", "BrokenOff", "NoReplica", "ServeArm"]

logger = logging.getLogger(__name__)

LONGEST_S = SILENCE_S + 60.0  # until a reply begins, with the wait for a replica

Body = Mapping[str, Any]


class NoReplica(RLVRError):
    """None of the replicas answers."""


class BrokenOff(RLVRError):
    """A stream ended before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply that is whole, or a stream."""

    reply: Reply
    events: AsyncIterator[bytes]  # none unless it is a stream; BrokenOff where a replica dies


class Arm(Protocol):
    """One of the models that share the users."""

    num_up: int  # replicas that run, as the last look found it: for those who watch

    def ask(self, path: str, body: Body | None = None) -> AbstractAsyncContextManager[Answer]:
        """Raises NoReplica."""


class ServeArm:
    """The replicas behind a handle of Ray Serve."""

    def __init__(self, handle: Any, *, num_replicas: int) -> None:
        self._handle = handle.options(stream=True)
        self._num_replicas = num_replicas
        self.num_up = num_replicas

    @asynccontextmanager
    async def ask(self, path: str, body: Body | None = None) -> AsyncIterator[Answer]:
        """Raises NoReplica. Who leaves before the end cancels the request, in vLLM too."""
        for _ in range(1 + self._num_replicas):  # all of them may die, and one may be new
            pieces = self._handle.ask.remote(path, body)
            try:
                async with asyncio.timeout(LONGEST_S):
                    reply = await _reply(pieces)
            except TimeoutError:
                break
            except _faults() as error:
                logger.warning("a replica did not answer: %s", error)
                continue
            try:
                yield Answer(reply=reply, events=_events(pieces))
            finally:
                pieces.cancel()
            return
        raise NoReplica("no replica answers")


async def _reply(pieces: Any) -> Reply:
    try:
        reply: Reply = await anext(aiter(pieces))
        if reply.body is not None:
            await anext(aiter(pieces), None)  # its end
    except asyncio.CancelledError:
        pieces.cancel()
        raise
    return reply


async def _events(pieces: Any) -> AsyncIterator[bytes]:
    try:
        async for event in pieces:
            yield event
    except _faults() as error:
        raise BrokenOff("the replica broke off") from error


def _faults() -> tuple[type[Exception], ...]:
    """What says that a replica did not answer: its own error, or that it is gone."""
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    return (RayError, RayServeException)
