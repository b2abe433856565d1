"""Spans and counters of one process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rlvr.run.trace import (
    Count,
    Event,
    Span,
    add_span,
    count,
    is_tracing,
    span,
    start_trace,
    take_trace,
)


@pytest.fixture(autouse=True)
def off() -> Iterator[None]:
    """Nothing is recorded before and after a test."""
    take_trace()
    yield
    take_trace()


def spans_of(events: list[Event]) -> list[Span]:
    return [event for event in events if isinstance(event, Span)]


def test_nothing_is_recorded_unless_tracing_is_on() -> None:
    with span("before"):
        count("running", 1)
    assert not is_tracing()
    start_trace()
    assert is_tracing()
    assert take_trace() == []
    with span("after"):
        add_span("after", start_ns=0)
    assert take_trace() == []


def test_a_span_is_the_time_of_its_block_and_contains_what_is_within() -> None:
    start_trace()
    before_ns = time.time_ns()
    with span("outer", step=3), span("inner", lane="waits"):
        pass
    inner, outer = spans_of(take_trace())  # in the order in which they end
    assert before_ns <= outer.start_ns <= inner.start_ns <= inner.end_ns <= outer.end_ns
    assert (outer.name, outer.lane, outer.arguments) == ("outer", "", {"step": 3})
    assert (inner.name, inner.lane) == ("inner", "waits")


def test_a_block_that_fails_is_recorded_and_its_error_raised() -> None:
    start_trace()
    with pytest.raises(KeyError), span("broken"):
        raise KeyError
    assert [one.name for one in spans_of(take_trace())] == ["broken"]


def test_a_span_may_be_added_after_the_fact() -> None:
    start_trace()
    add_span("group", start_ns=5, end_ns=9, lane="groups", task=2)
    assert take_trace() == [
        Span(name="group", start_ns=5, end_ns=9, lane="groups", arguments={"task": 2})
    ]


def test_a_counter_has_its_value_from_a_moment_on() -> None:
    start_trace()
    before_ns = time.time_ns()
    count("running", 12)
    (found,) = take_trace()
    assert isinstance(found, Count)
    assert (found.name, found.value) == ("running", 12)
    assert before_ns <= found.at_ns <= time.time_ns()


def test_work_that_a_gpu_has_queued_is_waited_for_at_both_ends() -> None:
    calls: list[str] = []
    start_trace(lambda: calls.append("synchronize"))
    with span("forward"):
        calls.append("work")
    with span("request", lane="requests"):
        calls.append("other work")
    assert calls == ["synchronize", "work", "synchronize", "other work"]
    assert len(take_trace()) == 2


def test_a_span_costs_less_than_a_microsecond_when_off() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        for _ in range(1000):
            with span("decode", step=1):
                pass
        return time.perf_counter() - started

    assert min(seconds() for _ in range(20)) < 2e-3  # 0.4 ms on a quiet machine
