"""`Teacher`: send one question to several endpoints with retries and failover.

ask --> EndpointPool (whose turn) --> ChatClient.complete --> TeacherReply
 ^                                        |
 +------ wait, longer each time ----------+ failed: num_tries at most
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from rewards.verifiers.chat_client import CallFailed, ChatClient, Fault
from rlvr.data.reasoning_tags import read_message
from rlvr.errors import RLVRError
from rlvr.teacher.endpoint_pool import Endpoint, EndpointPool, check_endpoints, make_endpoints
from rlvr.teacher.teacher_config import AskSection, TeacherSection

__all__ = ["NoReply", "Refused", "Teacher", "TeacherReply", "Usage", "in_parallel", "read_usage"]

MAX_BACKOFF_S = 60.0

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class NoReply(RLVRError):
    """All calls for one question failed; another question may be answered."""


class Refused(RLVRError):
    """The endpoints refuse this question (400); a retry would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of a call as the endpoint counts them; None where it does not."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None  # reasoning and answer
    reasoning_tokens: int | None = None  # the part of completion_tokens that is reasoning


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherReply:
    """`TeacherReply(reasoning_content="2 and 3", content="5", problem=None, ...)`."""

    reasoning_content: str | None
    content: str
    problem: str | None  # why the reply is incomplete (truncated, ...); None: it is complete
    finish_reason: str | None
    usage: Usage
    endpoint: str  # its name
    model: str
    num_calls: int  # including failed ones


class Teacher:
    """A model behind one or several endpoints; an asynchronous context manager."""

    def __init__(self, section: TeacherSection, *, key: str = "teacher", seed: int = 0) -> None:
        """Raises ConfigError, naming `key`, for a wrong address or a missing API key."""
        check_endpoints(section.endpoints, section=key)
        self._section = section
        self._jitter = random.Random(seed)
        self._pool = EndpointPool(make_endpoints(section))
        self._clients: dict[Endpoint, ChatClient] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for endpoint in self._pool.endpoints:
            one = endpoint.section
            client = ChatClient(
                one.url, model=one.model, key_env=one.key_env, timeout_s=self._section.timeout_s
            )
            self._clients[endpoint] = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def concurrency(self) -> int:
        """Number of calls that may be in flight over all endpoints."""
        return self._pool.limit

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: AskSection,
        *,
        prefill: str = "",
        seed: int | None = None,
    ) -> TeacherReply:
        """Return one reply to chat messages, complete or with its `problem`.

        Args:
            prefill: the first words of the reply, given to the model and not part of the reply.
            seed: sent where `sampling.send_seed` is on.

        Raises:
            NoReply: num_tries calls failed.
            Refused: no endpoint answers this question.
            NoEndpointLeft: all endpoints are given up; the message says why.
        """
        body = _request_body(messages, sampling, prefill=prefill, seed=seed)
        think_prefilled = prefill.rstrip().endswith("<think>")
        refusing: list[Endpoint] = []
        for attempt in range(self._section.num_tries):
            try:
                async with self._pool.calling(without=refusing) as endpoint:
                    completion = await self._clients[endpoint].complete(body)
                return _read_reply(
                    completion, endpoint, num_calls=attempt + 1, think_prefilled=think_prefilled
                )
            except CallFailed as failure:
                last = f"{endpoint.name}: {failure.reason}"
                if failure.fault is Fault.QUESTION and endpoint.num_answers:
                    refusing.append(endpoint)
                    if not self._pool.left(without=refusing):
                        raise Refused(last) from None
            if attempt + 1 < self._section.num_tries:
                # with jitter, so that calls that failed together do not retry together
                longest = min(MAX_BACKOFF_S, self._section.backoff_s * 2.0**attempt)
                await asyncio.sleep(longest * self._jitter.uniform(0.5, 1.0))
        raise NoReply(f"no reply after {self._section.num_tries} calls; the last: {last}")


async def in_parallel(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[ResultT]], *, limit: int
) -> AsyncIterator[ResultT]:
    """Yield `await work(item)` for all items, `limit` at a time, in the order of completion.

    Items are taken from the iterable as slots become free. When one call raises, the results that
    are ready are yielded first, the other calls are cancelled, and the error is raised.
    """
    end = object()
    waiting = iter(items)
    running: set[asyncio.Future[ResultT]] = set()
    try:
        while True:
            while len(running) < limit and (item := next(waiting, end)) is not end:
                running.add(asyncio.ensure_future(work(item)))  # type: ignore[arg-type]
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for result in sorted(done, key=lambda one: one.exception() is not None):
                yield result.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def read_usage(completion: Mapping[str, Any]) -> Usage:
    """Read the token counts of a chat completion; anything but a whole number becomes None."""
    usage = completion.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    details = usage.get("completion_tokens_details")
    details = details if isinstance(details, Mapping) else {}
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(details.get("reasoning_tokens")),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _request_body(
    messages: Sequence[Mapping[str, str]], sampling: AskSection, *, prefill: str, seed: int | None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [dict(message) for message in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        **sampling.extra,
    }
    if prefill:  # vLLM and SGLang continue the last message
        body["messages"].append({"role": "assistant", "content": prefill})
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    if seed is not None and sampling.send_seed:
        body["seed"] = seed
    return body


def _read_reply(
    completion: Mapping[str, Any], endpoint: Endpoint, *, num_calls: int, think_prefilled: bool
) -> TeacherReply:
    choice = completion["choices"][0]
    finish_reason = choice.get("finish_reason")
    answer = read_message(choice["message"], finish_reason, think_prefilled=think_prefilled)
    return TeacherReply(
        reasoning_content=answer.reasoning_content,
        content=answer.content,
        problem=answer.problem,
        finish_reason=finish_reason,
        usage=read_usage(completion),
        endpoint=endpoint.name,
        model=endpoint.section.model,
        num_calls=num_calls,
    )
