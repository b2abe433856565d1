"""The replicas of a model under Ray Serve: actors with a vLLM API server as their child process.

ServeArm --Ray, round-robin--> Replica --loopback, with a key of its own--> vLLM's api_server

Ray Serve places the replicas and their GPUs, checks their health and replaces one that fails. A
replica and its server end together, whichever ends first.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from rlvr.cluster.processes import free_port
from rlvr.errors import RLVRError
from rlvr.serving.server_spec import ServerSpec, server_command, server_env
from rlvr.serving.vllm_server import KEY_ENV, ServerProcess, wait_healthy

__all__ = ["Arm", "ArmReply", "BrokenOff", "NoReplica", "Replica", "ReplicaReply", "ServeArm"]

logger = logging.getLogger(__name__)

CONNECT_S = 5.0
SILENCE_S = 600.0  # between two reads of a reply; one that is not streamed is one read
REPLY_S = SILENCE_S + 60.0  # until a reply begins, including the wait for a replica
HEALTH_S = 10.0
EXIT_S = 2.0  # for a replica to exit after its server
RETRY_S = 0.5  # before a request is sent again, so that Ray Serve learns of the death
MAX_EVENT_BYTES = 2**24
END_OF_EVENT = b"\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReply:
    """The reply of the server."""

    status: int
    content_type: str
    body: bytes | None  # None: a stream; its events follow


Body = Mapping[str, Any]
ArmReply = tuple[ReplicaReply, AsyncIterator[bytes]]  # events of a stream; they raise BrokenOff


class Replica:
    """The class that Ray Serve runs as an actor."""

    async def __init__(self, spec: ServerSpec, *, folder: str, deadline_s: float) -> None:  # type: ignore[misc]
        """Start the server and wait until it answers; raises RLVRError as `wait_healthy`."""
        import ray
        from ray import serve

        key, port = secrets.token_urlsafe(), free_port()
        gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", ())
        spec = dataclasses.replace(spec, gpus=tuple(gpus))
        rank = serve.get_replica_context().rank.rank  # among the replicas of this model
        self._server = ServerProcess(
            server_command(spec, port=port, folder=Path(folder)),
            env={**server_env(spec), KEY_ENV: key},
            url=f"http://{spec.host}:{port}",
            log=Path(folder) / f"server-{rank}.log",
        )
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session: aiohttp.ClientSession | None = None
        self._is_ending = False
        self._server.start()
        try:
            await asyncio.to_thread(wait_healthy, self._server, deadline_s=deadline_s)
        except BaseException:
            self._server.stop()
            raise
        threading.Thread(target=self._end_with_server, daemon=True).start()

    async def ask(
        self, path: str, body: Mapping[str, Any] | None = None
    ) -> AsyncIterator[ReplicaReply | bytes]:
        """Yield a ReplicaReply, then the events of a stream; without a body, send a GET.

        Raises:
            aiohttp.ClientError: the server does not answer or drops the connection.
        """
        method = "GET" if body is None else "POST"
        url = self._server.url + path
        try:
            async with self._connections().request(method, url, json=body) as response:
                is_stream = body is not None and bool(body.get("stream")) and response.status == 200
                yield ReplicaReply(
                    status=response.status,
                    content_type=response.content_type,
                    body=None if is_stream else await response.read(),
                )
                while is_stream and (event := await response.content.readuntil(END_OF_EVENT)):
                    yield event
        except aiohttp.ClientError:
            # Ray Serve routes to a replica until its actor is dead: an error before that would
            # only send the request here again
            await asyncio.sleep(EXIT_S)
            raise

    async def check_health(self) -> None:
        """Health check, called by Ray Serve. Raises RLVRError if the server does not answer."""
        url, timeout = f"{self._server.url}/health", aiohttp.ClientTimeout(total=HEALTH_S)
        try:
            async with self._connections().get(url, timeout=timeout) as response:
                is_healthy = response.status == 200 and self._server.is_running
        except (aiohttp.ClientError, TimeoutError):
            is_healthy = False
        if not is_healthy:
            raise RLVRError(f"{self._server.url} does not answer; see {self._server.log}")

    def __del__(self) -> None:
        """Stop the server; Ray Serve calls this to end a replica."""
        if hasattr(self, "_server"):
            self._is_ending = True
            self._server.stop()

    def _end_with_server(self) -> None:
        """Exit when the server does: Ray Serve drops a dead actor at once, a failing one later."""
        self._server.wait()
        if not self._is_ending:
            os._exit(1)

    def _connections(self) -> aiohttp.ClientSession:
        """Return the HTTP session, created in the event loop that uses it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    sock_connect=CONNECT_S, sock_read=SILENCE_S, total=None
                ),
                connector=aiohttp.TCPConnector(limit=0),  # the server has a queue
                read_bufsize=MAX_EVENT_BYTES,
                headers=self._headers,
            )
        return self._session


class NoReplica(RLVRError):
    """No replica answers."""


class BrokenOff(RLVRError):
    """A stream ended early, because its replica died."""


class Arm(Protocol):
    """One of the models of an A/B split.

    async with arm.ask("/v1/chat/completions", body) as (reply, events): ...
    """

    num_up: int  # running replicas at the last check, for /health and /metrics

    def ask(self, path: str, body: Body | None = None) -> AbstractAsyncContextManager[ArmReply]:
        """Send a request. Raises NoReplica."""


class ServeArm:
    """The replicas behind a Ray Serve handle.

    If a replica dies, the request is sent to the next one, or waits until Ray Serve has replaced
    it. A stream that has begun is not retried: its first events have been sent to the client.
    """

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
                await asyncio.sleep(RETRY_S)
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
