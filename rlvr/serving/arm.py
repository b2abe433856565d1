"""A model's replicas, as the router asks them: in turns, by Ray Serve.

async with arm.ask("/v1/chat/completions", body) as answer: ...

Who does not answer is passed over, and the next one asked; what had begun to stream is not asked
again, for its beginning has gone out already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rlvr.errors import RLVRError
from rlvr.serving.replica import Reply

__all__ = ["Answer", "Arm", "BrokenOff", "NoReplica", "ServeArm"]

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

    num_up: int  # replicas that run, as the last look at them found it

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
        for _ in range(min(self._num_replicas, self.num_up)):
            pieces = self._handle.ask.remote(path, body)
            try:
                reply = await _reply(pieces)
            except _faults():
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
