"""Several endpoints with one circuit breaker each: which is called next, and who waits.

answers ---- failures in a row ----> rests (put_aside_s, doubling) --> one trial call
   ^                                    ^                                 |      |
   +------------------------------------|------------ answered -----------+      |
                                        +----------- failed ---------------------+
                                           max_rests in a row, or a refusal --> given up

Calls are shared by weight among the endpoints that may be called. The number of calls in flight is
limited such that the shares hold even when all are busy: weights 9 and 1 with 16 calls at a time
each make 17, not 32.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from rewards.verifiers.chat_client import CallFailed, Fault, check_address
from rlvr.errors import ConfigError, RLVRError
from rlvr.teacher.teacher_config import EndpointSection, TeacherSection

__all__ = ["Endpoint", "EndpointPool", "NoEndpointLeft", "check_endpoints", "make_endpoints"]

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER_S = 3600.0
LONG_PAUSE_S = 60.0  # a pause of this length is logged


class NoEndpointLeft(RLVRError):
    """Every endpoint is given up; the message gives the reason for each."""


def check_endpoints(endpoints: Sequence[EndpointSection], *, section: str) -> None:
    """Raise ConfigError for a wrong address, or for a key missing from the environment."""
    for number, endpoint in enumerate(endpoints):
        try:
            check_address(endpoint.url, endpoint.key_env)
        except ValueError as error:
            raise ConfigError(f"{section}.endpoints.{number}.{error}") from None


def make_endpoints(section: TeacherSection) -> list[Endpoint]:
    """Make an Endpoint for each in the recipe, with a number appended to a repeated name."""
    names: list[str] = []
    for one in section.endpoints:
        name = one.name or urlsplit(one.url).netloc
        names.append(name if name not in names else f"{name}#{len(names)}")
    return [
        Endpoint(one, section, name=name)
        for one, name in zip(section.endpoints, names, strict=True)
    ]


class Endpoint:
    """The circuit breaker and counts of one endpoint; makes no calls and is passed the time.

    Times are in seconds of one monotonic clock.
    """

    def __init__(self, section: EndpointSection, patience: TeacherSection, *, name: str) -> None:
        self.section = section
        self.name = name
        self.weight = section.weight or float(section.concurrency)
        self.given_up: str | None = None  # the reason
        self.num_answers = 0
        self.num_failures = 0
        self.in_flight = 0
        self.num_started = 0
        self._patience = patience
        self._failures_in_a_row = 0
        self._rests_in_a_row = 0
        self._rests_until = 0.0
        self._next_start = 0.0  # by the rate limit

    def ready_at(self) -> float:
        """Return the earliest time of the next call."""
        return max(self._rests_until, self._next_start)

    def has_room(self) -> bool:
        """Return whether one more call may be in flight; on trial, only one may."""
        on_trial = self._failures_in_a_row >= self._patience.put_aside_after
        limit = 1 if on_trial else self.section.concurrency
        return self.given_up is None and self.in_flight < limit

    def start(self, now: float) -> None:
        self.in_flight += 1
        self.num_started += 1
        if self.section.requests_per_minute is not None:
            gap = 60.0 / self.section.requests_per_minute
            self._next_start = max(self._next_start, now) + gap

    def end(self) -> None:
        self.in_flight -= 1

    def answered(self) -> None:
        """Count an answer and close the circuit breaker."""
        self.num_answers += 1
        self._failures_in_a_row = self._rests_in_a_row = 0

    def failed(self, failure: CallFailed, now: float) -> None:
        """Count a failure; rest or give up after too many in a row.

        A refused request does not count against an endpoint that has answered others. One that
        has never answered may refuse all of them (a wrong model name).
        """
        self.num_failures += 1
        is_refusal = failure.fault is Fault.QUESTION
        if failure.fault is Fault.GONE:
            self._give_up(failure.reason)
        if is_refusal and self.num_answers:
            return
        is_resting = now < self._rests_until
        self._failures_in_a_row += 1
        if failure.retry_after_s is not None:
            pause = min(failure.retry_after_s, MAX_RETRY_AFTER_S)
            self._rests_until = max(self._rests_until, now + pause)
            if pause >= LONG_PAUSE_S and not is_resting:
                logger.warning("%s asks for a pause of %.0f s: %s", self.name, pause, failure)
        if self._failures_in_a_row < self._patience.put_aside_after or is_resting:
            return
        if is_refusal:
            self._give_up(failure.reason)
        else:
            self._rest(failure.reason, now)

    def _rest(self, reason: str, now: float) -> None:
        if self._rests_in_a_row >= self._patience.max_rests:
            if self.in_flight <= 1:  # no other call can still be answered
                self._give_up(reason)
            return
        pause = self._patience.put_aside_s * 2.0**self._rests_in_a_row
        self._rests_until = max(self._rests_until, now + pause)
        self._rests_in_a_row += 1
        logger.warning("%s rests for %.0f s: %s", self.name, pause, reason)

    def _give_up(self, reason: str) -> None:
        if self.given_up is None:
            self.given_up = reason
            logger.warning("%s is given up: %s", self.name, reason)


class EndpointPool:
    """Shares calls by weight among the endpoints that have room."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        weights = sum(one.weight for one in endpoints)
        shares = [one.section.concurrency * weights / one.weight for one in endpoints]
        self.limit = max(1, int(min(shares) + 1e-6))
        self._changed = asyncio.Condition()

    def left(self, without: Collection[Endpoint] = ()) -> list[Endpoint]:
        """Return the endpoints that are not given up."""
        return [one for one in self.endpoints if one.given_up is None and one not in without]

    @asynccontextmanager
    async def calling(self, *, without: Collection[Endpoint] = ()) -> AsyncIterator[Endpoint]:
        """Reserve a call at an endpoint, and count its answer or its CallFailed.

        Raises:
            NoEndpointLeft: all endpoints are given up.
        """
        endpoint = await self._take(without)
        try:
            yield endpoint
        except CallFailed as failure:
            endpoint.failed(failure, time.monotonic())
            raise
        else:
            endpoint.answered()
        finally:
            endpoint.end()
            async with self._changed:
                self._changed.notify_all()

    async def _take(self, without: Collection[Endpoint]) -> Endpoint:
        async with self._changed:
            while True:
                left = self.left(without) or self.left()
                if not left:
                    reasons = "; ".join(f"{one.name}: {one.given_up}" for one in self.endpoints)
                    raise NoEndpointLeft(f"no endpoint is left: {reasons}")
                now = time.monotonic()
                is_full = sum(one.in_flight for one in self.endpoints) >= self.limit
                with_room = [] if is_full else [one for one in left if one.has_room()]
                ready = [one for one in with_room if one.ready_at() <= now]
                if ready:
                    endpoint = min(ready, key=lambda one: (one.num_started + 1) / one.weight)
                    endpoint.start(now)
                    return endpoint
                # until a call ends or an endpoint is ready
                waits = [max(0.0, one.ready_at() - now) for one in with_room]
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(waits, default=None)):
                        await self._changed.wait()
