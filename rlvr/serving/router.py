"""The HTTP router in front of all replicas: OpenAI's paths, /metrics and /health.

request --> arm (split by user) --> cache (temperature 0) --> a replica, round-robin --> reply
                                        hit: return it             by Ray Serve

Replies name the arm (`x-rlvr-arm`) and the cache's part (`x-rlvr-cache`: hit, miss or none).
vLLM names reasoning `reasoning`, DeepSeek's clients read `reasoning_content`: replies have both.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from rlvr.serving.replica import Arm, BrokenOff, NoReplica
from rlvr.serving.traffic import ReplyCache, Traffic, TrafficSplit, reply_key

__all__ = ["Router"]

PATHS = ("/v1/chat/completions", "/v1/completions")
MAX_BODY_BYTES = 64 * 2**20
USER_HEADER = "X-User"
CLIENT_CLOSED = 499  # nginx's status for a client that closed the connection
DONE = b"data: [DONE]"  # the last event of a stream

Body = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _Outcome:
    """HTTP status to count; a client that closes the connection leaves the default."""

    status: int = CLIENT_CLOSED


class Router:
    """The web application; it does not start or stop replicas."""

    def __init__(
        self,
        arms: Mapping[str, Arm],
        *,
        split: TrafficSplit,
        cache: ReplyCache,
        api_key: str | None = None,
    ) -> None:
        """`api_key`: bearer token that /v1 requires; None: no token is required."""
        self._arms = dict(arms)
        self._split = split
        self._cache = cache
        self._traffic = Traffic(tuple(arms))
        self._bearer = None if api_key is None else f"Bearer {api_key}"

    def app(self) -> web.Application:
        """Return the application for aiohttp to run."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._admit])
        for path in PATHS:
            app.router.add_post(path, self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        return app

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the key here as well, because the replicas do not see cached requests."""
        given = request.headers.get("Authorization", "")
        is_guarded = self._bearer is not None and request.path.startswith("/v1/")
        if is_guarded and not hmac.compare_digest(given.encode(), str(self._bearer).encode()):
            return _error(401, "an API key is required: Authorization: Bearer KEY")
        return await handler(request)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        started_at = time.monotonic()
        try:
            body = await request.json()
        except ValueError:
            return _error(400, "the body is not JSON")
        if not isinstance(body, dict):
            return _error(400, "the body is not a JSON object")
        user = body.get("user") or request.headers.get(USER_HEADER) or request.remote
        arm = self._split.arm(str(user))
        key = reply_key(arm, request.path, body)
        cached = self._cache.get(key)
        outcome = _Outcome()
        try:
            if cached is not None:
                outcome.status = 200
                return _json_bytes(cached, _headers(arm, "hit"))
            return await self._ask(request, body, outcome, arm=arm, key=key)
        except Exception:
            outcome.status = 500
            raise
        finally:
            latency_s = time.monotonic() - started_at
            is_hit = cached is not None
            self._traffic.add(arm, status=outcome.status, latency_s=latency_s, is_hit=is_hit)

    async def _ask(
        self, request: web.Request, body: Body, outcome: _Outcome, *, arm: str, key: str | None
    ) -> web.StreamResponse:
        try:
            async with self._arms[arm].ask(request.path, body) as (reply, events):
                if reply.body is None:
                    headers = _headers(arm, "none") | {"Content-Type": reply.content_type}
                    return await _forward_stream(request, events, outcome, headers)
                outcome.status, text = reply.status, _with_both_names(reply.body)
        except NoReplica:
            outcome.status = 503
            return _error(503, f"no replica of arm {arm} answers", _headers(arm, "none"))
        if outcome.status == 200:
            self._cache.put(key, text)
        return _json_bytes(text, _headers(arm, "miss" if key else "none"), outcome.status)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        try:
            async with next(iter(self._arms.values())).ask(request.path) as (reply, _):
                return _json_bytes(reply.body or b"", {}, reply.status)
        except NoReplica:
            return _error(503, "no replica answers")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self._traffic.text(self._num_up()))

    async def _health(self, request: web.Request) -> web.Response:
        """200 while every arm has a running replica, else 503."""
        num_up = self._num_up()
        return web.json_response(num_up, status=200 if all(num_up.values()) else 503)

    def _num_up(self) -> dict[str, int]:
        return {name: arm.num_up for name, arm in self._arms.items()}


async def _forward_stream(
    request: web.Request,
    events: AsyncIterator[bytes],
    outcome: _Outcome,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """Forward a stream event by event.

    If the replica dies, close the connection, so that the client sees that the reply is incomplete.
    """
    stream = web.StreamResponse(headers=headers)
    await stream.prepare(request)
    try:
        async for event in events:
            await stream.write(_event_with_both_names(event))
            if event.strip() == DONE:
                break  # many clients close the connection here
        outcome.status = 200
        await stream.write_eof()
    except ConnectionResetError:
        pass
    except BrokenOff:
        outcome.status = 502
        if request.transport is not None:
            request.transport.close()
    return stream


def _event_with_both_names(event: bytes) -> bytes:
    data = event.removeprefix(b"data:").strip()
    if not event.startswith(b"data:") or not data.startswith(b"{"):
        return event
    return b"data: " + _with_both_names(data) + b"\n\n"


def _with_both_names(text: bytes) -> bytes:
    """Return the reply with its `reasoning` also under `reasoning_content`."""
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


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error in OpenAI's format."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
