"""A client for OpenAI-compatible chat completions, built on the package `openai`.

    body --POST {url}/chat/completions--> JSON of a chat completion, or CallFailed(fault, reason)

Each call is sent once: retries, failover and deadlines over several calls belong to the caller.
Redirects are not followed, so that a key reaches only its own host, and a key that the server
repeats is replaced by "[key]" in replies and errors.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

__all__ = ["CallFailed", "ChatClient", "Fault", "check_address"]

# Issued keys contain lower-case letters or hyphens, so a pasted key is not taken for a name.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_GONE = frozenset({401, 402, 403, 404, 405, 410})
# During long reasoning no bytes arrive, and routers drop idle connections.
_KEEP_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, option), seconds)
    for option, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30))
    if hasattr(socket, option)
]


class Fault(StrEnum):
    """The meaning of a failed call for later calls."""

    BUSY = "busy"  # 425, 429: the endpoint asks the caller to wait
    BROKEN = "broken"  # 5xx, no connection, timeout, malformed reply: a later call may succeed
    QUESTION = "question"  # 400, 422, ...: this request is refused
    GONE = "gone"  # 401, 402, 403, 404, a redirect: every request is refused


class CallFailed(Exception):
    """A call without a chat completion."""

    def __init__(self, *, fault: Fault, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.fault = fault
        self.reason = reason  # one line, without the key
        self.retry_after_s = retry_after_s  # the pause that the server asks for


def check_address(url: str, key_env: str | None) -> None:
    """Check an endpoint's URL and the variable that holds its key.

    Raises:
        ValueError: starts with "url: " or "key_env: "; never repeats a value that may be a key.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "url: holds a user, password or query; give the key through the environment, by key_env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url: {url!r} is not an address; allowed: http(s)://HOST[:PORT]/v1")
    if key_env is None:
        return
    if _VARIABLE.fullmatch(key_env) is None:
        raise ValueError(
            "key_env: is not the name of a variable in capitals, such as DEEPSEEK_API_KEY; "
            "never write the key itself into a recipe"
        )
    value = os.environ.get(key_env, "")
    if not value.strip():
        raise ValueError(
            f"key_env: the environment does not hold {key_env}; export {key_env}=... and restart"
        )
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"key_env: {key_env} holds characters that a header cannot carry")


class ChatClient:
    """A client of one endpoint; an asynchronous context manager.

    `url` and `key_env` are as checked by `check_address`; `timeout_s` limits a whole call. Raises
    ImportError without the package `openai`.
    """

    def __init__(self, url: str, *, model: str, key_env: str | None, timeout_s: float) -> None:
        self._model = model
        self._key = os.environ[key_env] if key_env is not None else None
        self._timeout_s = timeout_s
        self._openai = _new_openai(url, self._key, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._openai.close()

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send `messages` and any other keys; return the JSON, whose first choice has a message.

        A lone surrogate, which UTF-8 cannot encode, is sent as "?".

        Raises:
            CallFailed: no chat completion came back in time.
        """
        import openai

        body = json.loads(json.dumps(body, ensure_ascii=False).encode(errors="replace"))
        unsent = ["OpenAI-Organization", "OpenAI-Project"]  # of the environment
        unsent += [] if self._key else ["Authorization"]
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._openai.chat.completions.with_raw_response.create(
                    model=self._model,
                    messages=body["messages"],
                    extra_headers=dict.fromkeys(unsent, openai.Omit()),
                    extra_body={**body, "model": self._model},
                )
        except openai.APIStatusError as error:
            raise _refused(error, self._key) from None
        except (openai.APITimeoutError, TimeoutError):
            raise CallFailed(fault=Fault.BROKEN, reason="no answer in time") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            reason = _without_key(_one_line(str(cause)) or type(cause).__name__, self._key)
            raise CallFailed(fault=Fault.BROKEN, reason=f"no connection: {reason[:200]}") from None
        return _read_completion(_without_key(reply.text, self._key))


def _new_openai(url: str, key: str | None, timeout_s: float) -> AsyncOpenAI:
    try:
        import httpx2
        import openai  # not at the top: it takes 0.7 s
    except ImportError:
        raise ImportError("a judge or teacher requires: pip install 'openai>=3.52'") from None
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    transport = httpx2.AsyncHTTPTransport(
        limits=httpx2.Limits(max_connections=None), proxy=proxy, socket_options=_KEEP_ALIVE
    )
    return openai.AsyncOpenAI(
        base_url=url.rstrip("/"),
        api_key=key or "none",
        timeout=openai.Timeout(timeout_s, connect=min(30.0, timeout_s)),
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(transport=transport, follow_redirects=False),
    )


def _refused(error: APIStatusError, key: str | None) -> CallFailed:
    status, body = error.status_code, error.body
    if status in (425, 429):
        fault = Fault.BUSY
    elif status in (408, 409) or status >= 500:
        fault = Fault.BROKEN
    else:
        fault = Fault.GONE if status in _GONE or status < 400 else Fault.QUESTION
    message = body.get("message", body) if isinstance(body, dict) else body or ""
    return CallFailed(
        fault=fault,
        reason=f"{status} {_one_line(_without_key(str(message), key))[:200]}".strip(),
        retry_after_s=_seconds(error.response.headers.get("Retry-After")),
    )


def _read_completion(text: str) -> dict[str, Any]:
    try:
        completion = json.loads(text)
        choice = completion["choices"][0]
        if not isinstance(choice["message"], dict):
            raise TypeError
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        reason = f"not a chat completion: {_one_line(text)[:80]!r}"
        raise CallFailed(fault=Fault.BROKEN, reason=reason) from None
    if choice.get("finish_reason") == "insufficient_system_resource":  # DeepSeek's
        raise CallFailed(fault=Fault.BROKEN, reason="insufficient_system_resource")
    return dict(completion)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _without_key(text: str, key: str | None) -> str:
    return text.replace(key, "[key]") if key else text


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: a number of seconds, or a date."""
    if retry_after is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(retry_after))
    with suppress(ValueError):
        at = parsedate_to_datetime(retry_after)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None
