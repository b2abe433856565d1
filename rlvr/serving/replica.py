"""One replica under Ray Serve: an actor with one of vLLM's own servers beside it.

a request --Ray--> Replica --loopback, with a key of its own--> vLLM's api_server

Ray Serve decides where a replica runs and on which GPUs, asks whether it is healthy, and puts a
new one in the place of one that is not. A replica and its server end together, whichever is first.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from rlvr.errors import RLVRError
from rlvr.serving.server_spec import ServerSpec, server_command, server_env
from rlvr.serving.vllm_server import KEY_ENV, ServerProcess, free_port, wait_healthy

__all__ = ["SILENCE_S", "Replica", "Reply"]

CONNECT_S = 5.0
SILENCE_S = 600.0  # between two pieces of a reply; one that is not streamed comes in one piece
HEALTH_S = 10.0  # for an answer of /health
MAX_EVENT_BYTES = 2**24  # of a stream
END_OF_EVENT = b"\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answers."""

    status: int
    content_type: str
    body: bytes | None  # None: a stream, whose events follow


class Replica:
    """Started by Ray Serve as an actor of its own."""

    async def __init__(self, spec: ServerSpec, *, folder: str, deadline_s: float) -> None:  # type: ignore[misc]
        """Returns when the server answers.

        Raises:
            RLVRError: it ended, or was silent until the deadline; with its last words and its log.
        """
        key, port = secrets.token_urlsafe(), free_port()
        spec = dataclasses.replace(spec, gpus=_own_gpus())
        self._server = ServerProcess(
            server_command(spec, port=port, folder=Path(folder)),
            env={**server_env(spec), KEY_ENV: key},
            url=f"http://{spec.host}:{port}",
            log=Path(folder) / f"server-{_rank()}.log",
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
    ) -> AsyncIterator[Reply | bytes]:
        """First the Reply, then its events if it is a stream; None for a body is a GET.

        Raises:
            aiohttp.ClientError: the server does not answer, or broke off.
        """
        method = "GET" if body is None else "POST"
        url = self._server.url + path
        async with self._connections().request(method, url, json=body) as answer:
            is_stream = body is not None and bool(body.get("stream")) and answer.status == 200
            yield Reply(
                status=answer.status,
                content_type=answer.content_type,
                body=None if is_stream else await answer.read(),
            )
            while is_stream and (event := await answer.content.readuntil(END_OF_EVENT)):
                yield event

    async def check_health(self) -> None:
        """Ray Serve's question. Raises RLVRError where the server does not answer."""
        url, timeout = f"{self._server.url}/health", aiohttp.ClientTimeout(total=HEALTH_S)
        try:
            async with self._connections().get(url, timeout=timeout) as answer:
                is_healthy = answer.status == 200 and self._server.is_running
        except (aiohttp.ClientError, TimeoutError):
            is_healthy = False
        if not is_healthy:
            raise RLVRError(f"{self._server.url} does not answer; see {self._server.log}")

    def __del__(self) -> None:
        """How Ray Serve ends a replica."""
        if hasattr(self, "_server"):
            self._is_ending = True
            self._server.stop()

    def _end_with_server(self) -> None:
        """A replica that is gone is asked no more, at once; one that fails, only after a while."""
        self._server.wait()
        if not self._is_ending:
            os._exit(1)

    def _connections(self) -> aiohttp.ClientSession:
        """Of the event loop that asks."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    sock_connect=CONNECT_S, sock_read=SILENCE_S, total=None
                ),
                connector=aiohttp.TCPConnector(limit=0),  # the server queues itself
                read_bufsize=MAX_EVENT_BYTES,
                headers=self._headers,
            )
        return self._session


def _own_gpus() -> tuple[str, ...]:
    """Those that Ray gave to this actor, as CUDA_VISIBLE_DEVICES has them."""
    import ray

    return tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ()))


def _rank() -> int:
    """Which of the replicas of its model this is, from 0: for the name of its log."""
    from ray import serve

    return int(serve.get_replica_context().rank.rank)
