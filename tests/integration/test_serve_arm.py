"""Requests to an arm of which a replica has just died, with Ray Serve's errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from ray.exceptions import ActorDiedError

from rlvr.serving.replica import NoReplica, ReplicaReply, ServeArm

pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")

REPLY = ReplicaReply(status=200, content_type="application/json", body=b"{}")


class Pieces:
    """The pieces of one call: a reply, or the error of a dead actor."""

    def __init__(self, *, is_alive: bool) -> None:
        self._pieces = self._answer() if is_alive else self._fail()

    async def _answer(self) -> AsyncIterator[ReplicaReply]:
        yield REPLY

    async def _fail(self) -> AsyncIterator[ReplicaReply]:
        raise ActorDiedError
        yield REPLY

    def __aiter__(self) -> AsyncIterator[ReplicaReply]:
        return self._pieces

    def cancel(self) -> None:
        pass


class Handle:
    """Ray Serve's handle, which routes to a dead replica until `knows_after_s`."""

    def __init__(self, *, knows_after_s: float) -> None:
        self.ask = self
        self.num_calls = 0
        self._knows_at = asyncio.get_running_loop().time() + knows_after_s

    def options(self, *, stream: bool) -> Handle:
        assert stream
        return self

    def remote(self, path: str, body: object) -> Pieces:
        self.num_calls += 1
        return Pieces(is_alive=asyncio.get_running_loop().time() > self._knows_at)


async def replies(handle: Handle, *, num_requests: int) -> list[ReplicaReply]:
    arm = ServeArm(handle, num_replicas=2)

    async def ask() -> ReplicaReply:
        async with arm.ask("/v1/completions", {}) as (reply, _):
            return reply

    return await asyncio.gather(*(ask() for _ in range(num_requests)))


def test_a_request_outlives_the_time_until_ray_serve_knows_of_a_death() -> None:
    async def run() -> list[ReplicaReply]:
        return await replies(Handle(knows_after_s=0.1), num_requests=8)

    assert asyncio.run(run()) == [REPLY] * 8


def test_a_request_that_no_replica_survives_is_not_sent_for_ever() -> None:
    async def run() -> int:
        handle = Handle(knows_after_s=60.0)
        with pytest.raises(NoReplica):
            await replies(handle, num_requests=1)
        return handle.num_calls

    assert asyncio.run(run()) == 3  # two replicas, and one in the place of the first
