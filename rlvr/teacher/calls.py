"""One call over the network: a request's body -> the JSON of a chat completion, or why not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from rlvr.teacher.endpoint import CallFailed, Endpoint, Fault
from rlvr.teacher.keys import key_of, without_key

__all__ = ["new_session", "post"]

_LATER = {408: Fault.BROKEN, 409: Fault.BROKEN, 425: Fault.BUSY, 429: Fault.BUSY}
_GONE = frozenset({401, 402, 403, 404, 405, 410})


def new_session(timeout_s: float) -> aiohttp.ClientSession:
    """Without a limit of its own on connections: the endpoints have theirs."""
    connector = aiohttp.TCPConnector(limit=0, socket_factory=_kept_alive)
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(30.0, timeout_s))
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True)


async def post(
    session: aiohttp.ClientSession, endpoint: Endpoint, body: Mapping[str, Any]
) -> dict[str, Any]:
    """The reply's JSON, with a choice that has a message.

    Raises:
        CallFailed: whatever else comes, or nothing.
    """
    key = key_of(endpoint.section)
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    url = f"{endpoint.section.url.rstrip('/')}/chat/completions"
    try:
        async with session.post(
            url,
            json={**body, "model": endpoint.section.model},
            headers=headers,
            allow_redirects=False,  # the key is for this host alone
        ) as reply:
            text = without_key((await reply.read()).decode("utf-8", "replace"), key)
            if reply.status != 200:
                raise _failure(reply.status, text, reply.headers.get("Retry-After"))
            return _read_completion(text)
    except TimeoutError:
        raise CallFailed(fault=Fault.BROKEN, reason="no answer in time") from None
    except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
        reason = without_key(" ".join(str(error).split()) or type(error).__name__, key)
        raise CallFailed(fault=Fault.BROKEN, reason=f"no connection: {reason[:200]}") from None


def _read_completion(text: str) -> dict[str, Any]:
    """A server that gives 200 and no whole reply is one that is not well: it is asked again."""
    try:
        completion = json.loads(text)
        choice = completion["choices"][0]
        if not isinstance(choice["message"], dict):
            raise TypeError
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        raise CallFailed(
            fault=Fault.BROKEN, reason=f"not a chat completion: {_one_line(text)[:80]!r}"
        ) from None
    if choice.get("finish_reason") == "insufficient_system_resource":  # DeepSeek's
        raise CallFailed(fault=Fault.BROKEN, reason="insufficient_system_resource")
    return dict(completion)


def _failure(status: int, text: str, retry_after: str | None) -> CallFailed:
    reason = f"{status} {_message(text)}".strip()
    after_s = _seconds(retry_after)
    if status in _LATER or status >= 500:
        fault = _LATER.get(status, Fault.BROKEN)
        return CallFailed(fault=fault, reason=reason, retry_after_s=after_s)
    if status in _GONE or 300 <= status < 400:
        return CallFailed(fault=Fault.GONE, reason=reason)
    return CallFailed(fault=Fault.QUESTION, reason=reason)


def _message(text: str) -> str:
    """What an error's body says, in one line."""
    try:
        error = json.loads(text)
        error = error.get("error", error.get("message", error))
        error = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError, RecursionError):
        error = text
    return _one_line(str(error))[:200]


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _seconds(retry_after: str | None) -> float | None:
    """Of the header: a number of seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _kept_alive(address: Any) -> socket.socket:
    """A long thought is a long silence; routers forget connections that are silent."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
