"""One address in front of all replicas: OpenAI's, and /metrics and /health.

request --> arm (split by user) --> cache (temperature 0) --> a replica in turn --> reply
                                        hit: at once           dead: the next one

A reply says which arm wrote it (`x-rlvr-arm`) and whether it came from the cache (`x-rlvr-cache`).
vLLM calls a thought `reasoning`; DeepSeek's clients read `reasoning_content`: replies have both.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from rlvr.serving.reply_cache import ReplyCache, reply_key
from rlvr.serving.round_robin import RoundRobin
from rlvr.serving.split import TrafficSplit
from rlvr.serving.traffic import Traffic

__all__ = ["Router"]

PATHS = ("/v1/chat/completions", "/v1/completions")
MAX_BODY_BYTES = 64 * 2**20
CONNECT_S = 5.0
SILENCE_S = 600.0  # between two pieces of a reply; one that is not streamed comes in one piece
MAX_LINE_BYTES = 2**24  # of a stream
USER_HEADER = "X-User"
CLIENT_WENT = 499  # as nginx calls it

Body = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Router:
    """The web application; it starts and ends nothing but its own connections."""

    def __init__(
        self,
        arms: Mapping[str, RoundRobin],
        *,
        split: TrafficSplit,
        cache: ReplyCache,
        api_key: str | None = None,
    ) -> None:
        """`api_key`: what /v1 asks for as a bearer's token, and the replicas too; None: nothing."""
        self._arms = dict(arms)
        self._split = split
        self._cache = cache
        self._traffic = Traffic(tuple(arms))
        self._bearer = None if api_key is None else f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None

    def app(self) -> web.Application:
        """To be run by aiohttp."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._admit])
        app.cleanup_ctx.append(self._connections)
        for path in PATHS:
            app.router.add_post(path, self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        return app

    async def _connections(self, app: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=SILENCE_S, total=None)
        connector = aiohttp.TCPConnector(limit=0)  # replicas queue themselves
        async with aiohttp.ClientSession(
            timeout=timeout,
            connector=connector,
            read_bufsize=MAX_LINE_BYTES,
            headers={"Authorization": self._bearer} if self._bearer else None,
        ) as session:
            self._session = session
            yield

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The cache must not answer who would be refused by the replicas."""
        given = request.headers.get("Authorization", "")
        is_guarded = self._bearer is not None and request.path.startswith("/v1/")
        if is_guarded and not hmac.compare_digest(given.encode(), str(self._bearer).encode()):
            return _refusal(401, "a key is needed: Authorization: Bearer KEY")
        return await handler(request)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        began_at = time.monotonic()
        try:
            body = await request.json()
        except ValueError:
            return _refusal(400, "the body is not JSON")
        if not isinstance(body, dict):
            return _refusal(400, "the body is not a JSON object")
        arm = self._split.arm(_user(request, body))
        key = reply_key(arm, request.path, body)
        kept = self._cache.get(key)
        if kept is not None:
            reply: web.StreamResponse = _json_bytes(kept, _headers(arm, "hit"))
            status = reply.status
        else:
            reply, status = await self._ask(request, body, arm=arm, key=key)
        latency_s = time.monotonic() - began_at
        self._traffic.add(arm, status=status, latency_s=latency_s, is_hit=kept is not None)
        return reply

    async def _ask(
        self, request: web.Request, body: Body, *, arm: str, key: str | None
    ) -> tuple[web.StreamResponse, int]:
        """The reply, and its status for the metrics: that of a stream is known at its end.

        The first replica that answers does; one that cannot be reached is left out from now.
        """
        assert self._session is not None, "the application runs"
        for replica in self._arms[arm].in_turn():
            try:
                async with self._session.post(replica.url + request.path, json=body) as answer:
                    if body.get("stream") and answer.status == 200:
                        return await _passed_on(request, answer, _headers(arm, "none"))
                    text = _with_both_names(await answer.read())
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError):
                replica.is_up = False
                continue
            if answer.status == 200:
                self._cache.put(key, text)
            headers = _headers(arm, "miss" if key else "none")
            return _json_bytes(text, headers, answer.status), answer.status
        return _refusal(503, f"no replica of arm {arm} answers", _headers(arm, "none")), 503

    async def _models(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None, "the application runs"
        for replica in next(iter(self._arms.values())).in_turn():
            try:
                async with self._session.get(replica.url + request.path) as answer:
                    return _json_bytes(await answer.read(), {}, answer.status)
            except (aiohttp.ClientError, TimeoutError):
                replica.is_up = False
        return _refusal(503, "no replica answers")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self._traffic.text(self._num_up()))

    async def _health(self, request: web.Request) -> web.Response:
        """200 while each arm has a replica that answers."""
        num_up = self._num_up()
        return web.json_response(num_up, status=200 if all(num_up.values()) else 503)

    def _num_up(self) -> dict[str, int]:
        return {arm: replicas.num_up for arm, replicas in self._arms.items()}


async def _passed_on(
    request: web.Request, answer: aiohttp.ClientResponse, headers: Mapping[str, str]
) -> tuple[web.StreamResponse, int]:
    """A stream, line by line. Where the replica dies in the middle, so does the connection: the
    client must not take the half for the whole.
    """
    reply = web.StreamResponse(
        headers={**headers, "Content-Type": answer.headers.get("Content-Type", "text/plain")}
    )
    await reply.prepare(request)
    try:
        async for line in answer.content:
            await reply.write(_line_with_both_names(line))
        await reply.write_eof()
    except ConnectionResetError:
        return reply, CLIENT_WENT
    except (aiohttp.ClientError, TimeoutError):
        if request.transport is not None:
            request.transport.close()
        return reply, 502
    return reply, 200


def _user(request: web.Request, body: Body) -> str:
    """Who is always sent the same way: the request's `user`, else a header, else the address."""
    return str(body.get("user") or request.headers.get(USER_HEADER) or request.remote)


def _line_with_both_names(line: bytes) -> bytes:
    data = line.removeprefix(b"data:").strip()
    if not line.startswith(b"data:") or not data.startswith(b"{"):
        return line
    return b"data: " + _with_both_names(data) + b"\n"


def _with_both_names(text: bytes) -> bytes:
    """A reply whose messages have their thought under `reasoning_content`, too."""
    try:
        reply = json.loads(text)
    except ValueError:
        return text
    choices = reply.get("choices") if isinstance(reply, dict) else None
    for choice in choices or ():
        message = choice.get("message") or choice.get("delta")
        if message and message.get("reasoning") is not None:
            message.setdefault("reasoning_content", message["reasoning"])
    return json.dumps(reply, ensure_ascii=False).encode()


def _headers(arm: str, cache: str) -> dict[str, str]:
    return {"x-rlvr-arm": arm, "x-rlvr-cache": cache}


def _json_bytes(body: bytes, headers: Mapping[str, str], status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """In the form of OpenAI's errors."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
