"""`Teacher`: ask, and have a reply or one reason why there is none.

ask --> pool (whose turn) --> call --> reply
 ^                              |
 +--- wait, longer each time ---+ failed: num_tries at most
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rlvr.data.chat_messages import read_message
from rlvr.errors import RLVRError
from rlvr.teacher.endpoint import CallFailed, Endpoint, Fault, endpoints_of
from rlvr.teacher.endpoint_pool import EndpointPool
from rlvr.teacher.keys import check_endpoints
from rlvr.teacher.teacher_config import AskSection, TeacherSection
from rlvr.teacher.text_lengths import Usage, read_usage

if TYPE_CHECKING:
    import aiohttp

__all__ = ["NoReply", "Refused", "Reply", "Teacher"]

MAX_BACKOFF_S = 60.0


class NoReply(RLVRError):
    """All calls for one question failed; another question may be answered."""


class Refused(RLVRError):
    """The addresses refuse this question (400): asking again would change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: `Reply(reasoning_content="2 and 3", content="5", problem=None, ...)`."""

    reasoning_content: str | None  # the thought; None: there is none
    content: str  # the rest
    problem: str | None  # why it is not whole (truncated, two thoughts, ...); None: it is
    finish_reason: str | None  # as the address says
    usage: Usage
    endpoint: str  # name of the one that answered
    model: str  # as the address was asked for it
    num_calls: int  # with those that failed


class Teacher:
    """A model behind one address or several; an asynchronous context manager."""

    def __init__(self, section: TeacherSection, *, key: str = "teacher", seed: int = 0) -> None:
        """Raises ConfigError, naming `key`, for an address or a key's name that is not allowed."""
        check_endpoints(section.endpoints, section=key)
        self._section = section
        self._draw = random.Random(seed)
        self._pool = EndpointPool(endpoints_of(section))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        from rlvr.teacher.calls import new_session

        self._session = new_session(self._section.timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    @property
    def concurrency(self) -> int:
        """Calls that may be in flight over all endpoints."""
        return self._pool.limit

    @property
    def calls(self) -> dict[str, dict[str, int]]:
        """Endpoint -> calls that were answered and that failed, since this object was made."""
        return {
            one.name: {"answered": one.num_answers, "failed": one.num_failures}
            for one in self._pool.endpoints
        }

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        sampling: AskSection,
        *,
        prefill: str = "",
        seed: int | None = None,
    ) -> Reply:
        """One reply to chat messages, whole or with its `problem`.

        `prefill`: the reply's first words, given to the model and not part of the reply. `seed`:
        sent where sampling.send_seed is on.

        Raises:
            NoReply: num_tries calls failed.
            Refused: no address answers this question.
            NoEndpointLeft: all addresses are given up; the text says why.
        """
        body = _body(messages, sampling, prefill=prefill, seed=seed)
        think_prefilled = prefill.rstrip().endswith("<think>")
        refusing: list[Endpoint] = []
        for attempt in range(self._section.num_tries):
            try:
                async with self._pool.calling(without=refusing) as endpoint:
                    completion = await self._post(endpoint, body)
                return self._reply(
                    completion, endpoint, attempt + 1, think_prefilled=think_prefilled
                )
            except CallFailed as failure:
                last = f"{endpoint.name}: {failure.reason}"
                if failure.fault is Fault.QUESTION and endpoint.num_answers:
                    refusing.append(endpoint)
                    if not self._pool.left(without=refusing):
                        raise Refused(last) from None
            if attempt + 1 < self._section.num_tries:
                await asyncio.sleep(self._backoff_s(attempt))
        raise NoReply(f"no reply after {self._section.num_tries} calls; the last: {last}")

    async def _post(self, endpoint: Endpoint, body: Mapping[str, Any]) -> dict[str, Any]:
        from rlvr.teacher.calls import post

        assert self._session is not None, "a teacher is asked inside of `async with`"
        return await post(self._session, endpoint, body)

    def _reply(
        self,
        completion: Mapping[str, Any],
        endpoint: Endpoint,
        calls: int,
        *,
        think_prefilled: bool,
    ) -> Reply:
        choice = completion["choices"][0]
        finish_reason = choice.get("finish_reason")
        answer = read_message(choice["message"], finish_reason, think_prefilled=think_prefilled)
        return Reply(
            reasoning_content=answer.reasoning_content,
            content=answer.content,
            problem=answer.problem,
            finish_reason=finish_reason,
            usage=read_usage(completion),
            endpoint=endpoint.name,
            model=endpoint.section.model,
            num_calls=calls,
        )

    def _backoff_s(self, attempt: int) -> float:
        """Doubling, with jitter, so that calls that failed together do not come back together."""
        longest = min(MAX_BACKOFF_S, self._section.backoff_s * 2.0**attempt)
        return longest * self._draw.uniform(0.5, 1.0)


def _body(
    messages: Sequence[Mapping[str, str]], sampling: AskSection, *, prefill: str, seed: int | None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [dict(message) for message in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        **sampling.extra,
    }
    if prefill:  # vLLM and SGLang go on with the last message
        body["messages"].append({"role": "assistant", "content": prefill})
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    if seed is not None and sampling.send_seed:
        body["seed"] = seed
    return body
