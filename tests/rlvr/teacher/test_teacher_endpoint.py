"""The circuit breaker of an endpoint: when it rests, is tried again, and is given up."""

from __future__ import annotations

import pytest

from rewards.verifiers.chat_client import CallFailed, Fault
from rlvr.teacher.endpoint_pool import Endpoint, make_endpoints
from rlvr.teacher.teacher_config import EndpointSection, TeacherSection

URL = "http://127.0.0.1:1/v1"
BROKEN = CallFailed(fault=Fault.BROKEN, reason="500 down")


def make(**changes: object) -> Endpoint:
    patience = {"put_aside_after": 2, "put_aside_s": 10.0, "max_rests": 2}
    section = EndpointSection.model_validate({"url": URL, "model": "m", "concurrency": 4} | changes)
    teacher = TeacherSection.model_validate({"endpoints": [section], **patience})
    return Endpoint(section, teacher, name="one")


def fail(endpoint: Endpoint, now: float, failure: CallFailed = BROKEN) -> None:
    endpoint.start(now)
    endpoint.failed(failure, now)
    endpoint.end()


def test_it_takes_as_many_calls_as_its_concurrency() -> None:
    endpoint = make()
    for _ in range(3):
        endpoint.start(0.0)
    assert endpoint.has_room()
    endpoint.start(0.0)
    assert not endpoint.has_room()


def test_a_rate_limit_spaces_the_starts() -> None:
    endpoint = make(requests_per_minute=30)
    starts = []
    for _ in range(3):
        starts.append(endpoint.ready_at())
        endpoint.start(starts[-1])
    assert starts == [0.0, 2.0, 4.0]
    endpoint.start(100.0)  # time that was not used is not made up for
    assert endpoint.ready_at() == 102.0


def test_failures_in_a_row_cause_a_rest_that_one_trial_call_ends() -> None:
    endpoint = make()
    fail(endpoint, 0.0)
    assert endpoint.ready_at() == 0.0
    fail(endpoint, 1.0)
    assert endpoint.ready_at() == 11.0
    endpoint.start(11.0)
    assert not endpoint.has_room()
    endpoint.answered()
    endpoint.end()
    assert endpoint.has_room()
    fail(endpoint, 12.0)
    assert endpoint.ready_at() == 11.0


def test_rests_grow_until_the_endpoint_is_given_up() -> None:
    endpoint = make()
    fail(endpoint, 0.0)
    fail(endpoint, 0.0)
    fail(endpoint, 10.0)
    assert endpoint.ready_at() == 30.0
    assert endpoint.given_up is None
    fail(endpoint, 30.0)
    assert endpoint.given_up == "500 down"
    assert not endpoint.has_room()


def test_calls_that_fail_together_are_one_rest() -> None:
    endpoint = make()
    for _ in range(4):
        endpoint.start(0.0)
    for _ in range(4):
        endpoint.failed(BROKEN, 1.0)
        endpoint.end()
    assert endpoint.ready_at() == 11.0


def test_it_is_not_given_up_while_a_long_reply_may_still_come() -> None:
    endpoint = make()
    endpoint.start(0.0)  # it thinks
    for now in (0.0, 0.0, 10.0, 30.0, 40.0):
        fail(endpoint, now)
    assert endpoint.given_up is None


def test_retry_after_is_respected(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = make()
    fail(endpoint, 5.0, CallFailed(fault=Fault.BUSY, reason="429", retry_after_s=7.0))
    assert (endpoint.ready_at(), caplog.text) == (12.0, "")
    fail(make(), 5.0, CallFailed(fault=Fault.BUSY, reason="429", retry_after_s=90.0))
    assert "one asks for a pause of 90 s: 429" in caplog.text


def test_a_wrong_key_gives_the_endpoint_up_at_once() -> None:
    endpoint = make()
    fail(endpoint, 0.0, CallFailed(fault=Fault.GONE, reason="401 no"))
    assert endpoint.given_up == "401 no"


@pytest.mark.parametrize("has_answered", [True, False])
def test_refusals_count_only_before_the_first_answer(has_answered: bool) -> None:
    endpoint = make()
    if has_answered:
        endpoint.answered()
    for _ in range(3):
        fail(endpoint, 0.0, CallFailed(fault=Fault.QUESTION, reason="400 no such model"))
    assert endpoint.given_up == (None if has_answered else "400 no such model")
    assert endpoint.ready_at() == 0.0


def test_names_default_to_the_host() -> None:
    sections = [{"url": URL, "model": "m"}, {"url": URL, "model": "n"}]
    sections.append({"url": URL, "model": "m", "name": "mine"})
    teacher = TeacherSection.model_validate({"endpoints": sections})
    names = [one.name for one in make_endpoints(teacher)]
    assert names == ["127.0.0.1:1", "127.0.0.1:1#1", "mine"]
