"""Spans of time in this process, recorded between `start_trace` and `take_trace` (`rlvr profile`).

    with span("learn"):               spans of one lane lie within each other, or follow each other
        with span("forward"): ...
    count("running", 12)              a value that changes over time

While nothing is recorded, which is the default, a span costs a function call. Times are wall-clock
nanoseconds, so that spans of all processes have one clock: exactly on one machine, and as precisely
as NTP between machines.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Count",
    "Event",
    "Span",
    "add_span",
    "count",
    "is_tracing",
    "span",
    "start_trace",
    "take_trace",
]

MAX_EVENTS = 500_000  # the newest of a process; a decode step is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of work with a start and an end."""

    name: str
    start_ns: int  # of time.time_ns
    end_ns: int
    lane: str = ""  # "": what the process itself does; others: requests, batches, waits
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A value from a moment on."""

    name: str
    at_ns: int
    value: float


Event = Span | Count

_events: deque[Event] | None = None  # None: nothing is recorded
_synchronize: Callable[[], None] | None = None
_nothing: AbstractContextManager[None] = nullcontext()


def start_trace(synchronize: Callable[[], None] | None = None) -> None:
    """Record from now on; `synchronize` is called at both ends of a span of lane "", so that it
    contains the work of a GPU that it has started.
    """
    global _events, _synchronize
    _events, _synchronize = deque(maxlen=MAX_EVENTS), synchronize


def take_trace() -> list[Event]:
    """Stop and return what was recorded, in the order in which it ended."""
    global _events
    taken, _events = list(_events or ()), None
    return taken


def is_tracing() -> bool:
    """Whether spans are recorded."""
    return _events is not None


def span(name: str, *, lane: str = "", **arguments: Any) -> AbstractContextManager[None]:
    """Record the block as a span."""
    return _nothing if _events is None else _recorded(name, lane, arguments)


@contextmanager
def _recorded(name: str, lane: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    start_ns = _now(lane)
    try:
        yield
    finally:
        add_span(name, lane=lane, start_ns=start_ns, end_ns=_now(lane), **arguments)


def _now(lane: str) -> int:
    if _synchronize is not None and not lane:
        _synchronize()
    return time.time_ns()


def add_span(
    name: str, *, start_ns: int, end_ns: int | None = None, lane: str = "", **arguments: Any
) -> None:
    """Record a span that began at `start_ns` (time.time_ns) and ends now, or at `end_ns`."""
    if _events is not None:
        end_ns = time.time_ns() if end_ns is None else end_ns
        _events.append(
            Span(name=name, start_ns=start_ns, end_ns=end_ns, lane=lane, arguments=arguments)
        )


def count(name: str, value: float) -> None:
    """Record the value that a counter has from now on."""
    if _events is not None:
        _events.append(Count(name=name, at_ns=time.time_ns(), value=value))
