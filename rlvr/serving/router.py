"""One address in front of all replicas: OpenAI's, and /metrics and /health.

request --> arm (split by user) --> cache (temperature 0) --> a replica in turn --> reply
                                        hit: at once           by Ray Serve

A reply says which arm wrote it (`x-rlvr-arm`) and whether it came from the cache (`x-rlvr-cache`).
vLLM calls a thought `reasoning`; DeepSeek's clients read `reasoning_content`: replies have both.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from rlvr.serving.ab_split import TrafficSplit
from rlvr.serving.arm import Answer, Arm, BrokenOff, NoReplica
from rlvr.serving.reply_cache import ReplyCache, reply_key
from rlvr.serving.traffic import Traffic

__all__ = ["Router"]

PATHS = ("/v1/chat/completions", "/v1/completions")
MAX_BODY_BYTES = 64 * 2**20
USER_HEADER = "X-User"
CLIENT_WENT = 499  # as nginx calls it
DONE = b"data: [DONE]"  # the last event of a stream

Body = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class _Sent:
    """What has gone out to the client."""

    status: int = CLIENT_WENT  # until the reply is whole, or is known not to become so


class Router:
    """The web application; it starts and ends nothing."""

    def __init__(
        self,
        arms: Mapping[str, Arm],
        *,
        split: TrafficSplit,
        cache: ReplyCache,
        api_key: str | None = None,
    ) -> None:
        """`api_key`: what /v1 asks for as a bearer's token; None: nothing."""
        self._arms = dict(arms)
        self._split = split
        self._cache = cache
        self._traffic = Traffic(tuple(arms))
        self._bearer = None if api_key is None else f"Bearer {api_key}"

    def app(self) -> web.Application:
        """To be run by aiohttp."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._admit])
        for path in PATHS:
            app.router.add_post(path, self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        return app

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
        sent = _Sent()
        try:
            if kept is not None:
                sent.status = 200
                return _json_bytes(kept, _headers(arm, "hit"))
            return await self._ask(request, body, sent, arm=arm, key=key)
        except Exception:
            sent.status = 500
            raise
        finally:
            latency_s = time.monotonic() - began_at
            self._traffic.add(arm, status=sent.status, latency_s=latency_s, is_hit=kept is not None)

    async def _ask(
        self, request: web.Request, body: Body, sent: _Sent, *, arm: str, key: str | None
    ) -> web.StreamResponse:
        try:
            async with self._arms[arm].ask(request.path, body) as answer:
                if answer.reply.body is None:
                    return await _passed_on(request, answer, sent, _headers(arm, "none"))
                sent.status, text = answer.reply.status, _with_both_names(answer.reply.body)
        except NoReplica:
            sent.status = 503
            return _refusal(503, f"no replica of arm {arm} answers", _headers(arm, "none"))
        if sent.status == 200:
            self._cache.put(key, text)
        return _json_bytes(text, _headers(arm, "miss" if key else "none"), sent.status)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        try:
            async with next(iter(self._arms.values())).ask(request.path) as answer:
                return _json_bytes(answer.reply.body or b"", {}, answer.reply.status)
        except NoReplica:
            return _refusal(503, "no replica answers")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self._traffic.text(self._num_up()))

    async def _health(self, request: web.Request) -> web.Response:
        """200 while each arm has a replica that answers."""
        num_up = self._num_up()
        return web.json_response(num_up, status=200 if all(num_up.values()) else 503)

    def _num_up(self) -> dict[str, int]:
        return {name: arm.num_up for name, arm in self._arms.items()}


async def _passed_on(
    request: web.Request, answer: Answer, sent: _Sent, headers: Mapping[str, str]
) -> web.StreamResponse:
    """A stream, event by event. Where the replica dies in the middle, so does the connection: the
    client must not take the half for the whole.
    """
    stream = web.StreamResponse(headers={**headers, "Content-Type": answer.reply.content_type})
    await stream.prepare(request)
    try:
        async for event in answer.events:
            await stream.write(_event_with_both_names(event))
            if event.strip() == DONE:
                break  # at which many clients hang up
        sent.status = 200
        await stream.write_eof()
    except ConnectionResetError:
        pass
    except BrokenOff:
        sent.status = 502
        if request.transport is not None:
            request.transport.close()
    return stream


def _user(request: web.Request, body: Body) -> str:
    """Who is always sent the same way: the request's `user`, else a header, else the address."""
    return str(body.get("user") or request.headers.get(USER_HEADER) or request.remote)


def _event_with_both_names(event: bytes) -> bytes:
    data = event.removeprefix(b"data:").strip()
    if not event.startswith(b"data:") or not data.startswith(b"{"):
        return event
    return b"data: " + _with_both_names(data) + b"\n\n"


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
