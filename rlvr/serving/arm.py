"""The replicas of one model, called round-robin by Ray Serve.

async with arm.ask("/v1/chat/completions", body) as (reply, events): ...

If a replica dies, the request is sent to the next one, or waits until Ray Serve has replaced it. A
stream that has begun is not retried, because its first events have been sent to the client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from rlvr.errors import RLVRError
from rlvr.serving.replica import SILENCE_S, ReplicaReply

__all__ = ["Arm", "ArmReply", "BrokenOff", "NoReplica", "ServeArm"]

logger = logging.getLogger(__name__)

REPLY_S = SILENCE_S + 60.0  # until a reply begins, including the wait for a replica

Body = Mapping[str, Any]
ArmReply = tuple[ReplicaReply, AsyncIterator[bytes]]  # events of a stream; they raise BrokenOff


class NoReplica(RLVRError):
    """No replica answers."""


class BrokenOff(RLVRError):
    """A stream ended early, because its replica died."""


class Arm(Protocol):
    """One of the models of an A/B split."""

    num_up: int  # running replicas at the last check, for /health and /metrics

    def ask(self, path: str, body: Body | None = None) -> AbstractAsyncContextManager[ArmReply]:
        """Send a request. Raises NoReplica."""


class ServeArm:
    """The replicas behind a Ray Serve handle."""

    def __init__(self, handle: Any, *, num_replicas: int) -> None:
        self._handle = handle.options(stream=True)
        self._num_replicas = num_replicas
        self.num_up = num_replicas

    @asynccontextmanager
    async def ask(self, path: str, body: Body | None = None) -> AsyncIterator[ArmReply]:
        """Send a request; leaving the context early cancels it, in vLLM as well."""
        for _ in range(1 + self._num_replicas):  # all of them may die and one be replaced
            pieces = self._handle.ask.remote(path, body)
            try:
                async with asyncio.timeout(REPLY_S):
                    reply = await _first(pieces)
            except TimeoutError:
                break
            except _replica_errors() as error:
                logger.warning("a replica did not answer: %s", error)
                continue
            try:
                yield reply, _events(pieces)
            finally:
                pieces.cancel()
            return
        raise NoReplica("no replica answers")


async def _first(pieces: Any) -> ReplicaReply:
    try:
        reply: ReplicaReply = await anext(aiter(pieces))
        if reply.body is not None:
            await anext(aiter(pieces), None)  # exhaust the iterator
    except asyncio.CancelledError:
        pieces.cancel()
        raise
    return reply


async def _events(pieces: Any) -> AsyncIterator[bytes]:
    try:
        async for event in pieces:
            yield event
    except _replica_errors() as error:
        raise BrokenOff("the replica died while it streamed") from error


def _replica_errors() -> tuple[type[Exception], ...]:
    """Errors that mean that a replica did not answer: its own, or that its actor is dead."""
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    return (RayError, RayServeException)
