"""One address: may it be called now, and how is it doing. No network, and the time is passed in.

answers ---- failures in a row ----> rests (put_aside_s, doubling) --> one call on trial
   ^                                    ^                                 |      |
   +------------------------------------|------------ answered -----------+      |
                                        +----------- failed ---------------------+
                                           max_rests in a row, or a refusal --> given up
"""

from __future__ import annotations

import logging
from enum import StrEnum
from urllib.parse import urlsplit

from rlvr.errors import RLVRError
from rlvr.teacher.teacher_config import EndpointSection, TeacherSection

__all__ = ["CallFailed", "Endpoint", "Fault", "NoEndpointLeft", "endpoints_of"]

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER_S = 3600.0
LONG_PAUSE_S = 60.0  # the user should know why nothing happens


class NoEndpointLeft(RLVRError):
    """Every endpoint is given up; the text says why each."""


class Fault(StrEnum):
    """What a failed call says about the endpoint."""

    BUSY = "busy"  # 429: later
    BROKEN = "broken"  # 5xx, no connection, no answer in time, junk: perhaps later
    QUESTION = "question"  # 400: this question will not be answered here
    GONE = "gone"  # 401, 402, 403, 404, a redirection: nothing will


class CallFailed(Exception):
    """A call without an answer: what it means, in words, and when to come back."""

    def __init__(
        self,
        *,
        fault: Fault,
        reason: str,  # one line, without a key
        retry_after_s: float | None = None,  # as the address asks; None: it does not
    ) -> None:
        super().__init__(reason)
        self.fault = fault
        self.reason = reason
        self.retry_after_s = retry_after_s


class Endpoint:
    """How one address is doing; times are seconds of one clock."""

    def __init__(self, section: EndpointSection, patience: TeacherSection, *, name: str) -> None:
        self.section = section
        self.name = name
        self.given_up: str | None = None  # why
        self.num_answers = 0
        self.num_failures = 0
        self.in_flight = 0
        self.num_started = 0
        self._patience = patience
        self._failures_in_a_row = 0
        self._rests_in_a_row = 0
        self._not_before = 0.0  # it rests, or asked to be left alone
        self._next_start = 0.0  # by its rate limit

    @property
    def weight(self) -> float:
        """Its share of the calls, to the others'."""
        return self.section.weight or float(self.section.concurrency)

    def ready_at(self) -> float:
        """Not before this time."""
        return max(self._not_before, self._next_start)

    def has_room(self) -> bool:
        """One more call may be in flight; of an endpoint on trial only one."""
        on_trial = self._failures_in_a_row >= self._patience.put_aside_after
        limit = 1 if on_trial else self.section.concurrency
        return self.given_up is None and self.in_flight < limit

    def start(self, now: float) -> None:
        """A call begins."""
        self.in_flight += 1
        self.num_started += 1
        if self.section.requests_per_minute is not None:
            gap = 60.0 / self.section.requests_per_minute
            self._next_start = max(self._next_start, now) + gap

    def end(self) -> None:
        """It is over, however."""
        self.in_flight -= 1

    def answered(self) -> None:
        """All is well again."""
        self.num_answers += 1
        self._failures_in_a_row = self._rests_in_a_row = 0

    def failed(self, failure: CallFailed, now: float) -> None:
        """Count it; rest or give up where it is the last of many.

        A question that is refused is no fault of an endpoint that has answered others; of one that
        has not, all questions may be refused (a wrong model's name).
        """
        self.num_failures += 1
        is_refusal = failure.fault is Fault.QUESTION
        if failure.fault is Fault.GONE:
            self._give_up(failure.reason)
        if is_refusal and self.num_answers:
            return
        is_resting = now < self._not_before
        self._failures_in_a_row += 1
        if failure.retry_after_s is not None:
            pause = min(failure.retry_after_s, MAX_RETRY_AFTER_S)
            self._not_before = max(self._not_before, now + pause)
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
            if self.in_flight <= 1:  # none but this call: no other may still be answered
                self._give_up(reason)
            return
        pause = self._patience.put_aside_s * 2.0**self._rests_in_a_row
        self._not_before = max(self._not_before, now + pause)
        self._rests_in_a_row += 1
        logger.warning("%s is left alone for %.0f s: %s", self.name, pause, reason)

    def _give_up(self, reason: str) -> None:
        if self.given_up is None:
            self.given_up = reason
            logger.warning("%s is given up: %s", self.name, reason)


def endpoints_of(section: TeacherSection) -> list[Endpoint]:
    """One for each in the recipe; names that stand twice get a number."""
    names: list[str] = []
    for one in section.endpoints:
        name = one.name or urlsplit(one.url).netloc
        names.append(name if name not in names else f"{name}#{len(names)}")
    return [
        Endpoint(one, section, name=name)
        for one, name in zip(section.endpoints, names, strict=True)
    ]
