"""Calls over a real connection: failures, failover, limits, and keys that stay secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from loopback_teacher import (
    Ask,
    Fails,
    HalfCloses,
    Hangs,
    Junk,
    LoopbackTeacher,
    Resets,
    Says,
)

from rlvr.errors import ConfigError
from rlvr.teacher import (
    NoEndpointLeft,
    NoReply,
    Refused,
    Teacher,
    TeacherReply,
    check_endpoints,
    in_parallel,
)
from rlvr.teacher.teacher_config import AskSection, TeacherSection

pytestmark = pytest.mark.slow  # servers fail and hang

FIVE = Says("5", thought="2 and 3")
QUICK = {"timeout_s": 3.0, "backoff_s": 0.01, "put_aside_s": 0.05}
KEY = "sk-Very-Secret-1"


def section(*servers: LoopbackTeacher, endpoint: dict[str, Any] | None = None, **keys: Any) -> Any:
    endpoints = [
        {"url": server.url, "model": "m", "name": f"t{i}", **(endpoint or {})}
        for i, server in enumerate(servers)
    ]
    return TeacherSection.model_validate({"endpoints": endpoints, **QUICK, **keys})


def ask_all(teacher: TeacherSection, texts: Sequence[str], **options: Any) -> list[TeacherReply]:
    async def run() -> list[TeacherReply]:
        async with Teacher(teacher) as client:

            async def ask(text: str) -> TeacherReply:
                messages = [{"role": "user", "content": text}]
                return await client.ask(messages, AskSection(), **options)

            return [reply async for reply in in_parallel(texts, ask, limit=client.concurrency)]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "failure",
    [
        Fails(500),
        Fails(503, retry_after="0"),
        Fails(429, retry_after="0.01"),
        Fails(429, retry_after="Sat, 01 Jan 2000 00:00:00 GMT"),
        Fails(408),
        Junk(),
        Junk("<html>"),
        Junk('{"choices": []}'),
        Junk('{"choices": [{"message": "5"}]}'),
        Hangs(),
        HalfCloses(),
        Resets(),
        Says("", finish_reason="insufficient_system_resource"),
    ],
    ids=repr,
)
def test_transient_failures_are_retried(failure: Any) -> None:
    def script(ask: Ask) -> Any:
        return failure if ask.number <= 2 else FIVE

    with LoopbackTeacher(script) as server:
        [reply] = ask_all(section(server), ["2+3?"])
    assert (reply.content, reply.reasoning_content, reply.problem) == ("5", "2 and 3", None)
    assert reply.num_calls == server.num_calls == 3


def test_the_number_of_tries_is_bounded() -> None:
    with LoopbackTeacher(lambda ask: Fails(500)) as server:
        with pytest.raises(NoReply, match=r"^no reply after 3 calls; the last: t0: 500 the server"):
            ask_all(section(server, num_tries=3), ["2+3?"])
        assert server.num_calls == 3


def test_when_no_endpoint_is_left_one_line_has_every_reason() -> None:
    with (
        LoopbackTeacher(lambda ask: Fails(401, "no such key")) as refusing,
        LoopbackTeacher(lambda ask: Fails(500, "down")) as broken,
        pytest.raises(NoEndpointLeft) as left,
    ):
        ask_all(section(refusing, broken, num_tries=99, put_aside_after=2, max_rests=2), ["2+3?"])
    assert str(left.value) == "no endpoint is left: t0: 401 no such key; t1: 500 down"


def test_redirects_are_not_followed() -> None:
    with (
        LoopbackTeacher(lambda ask: Fails(307, "over there")) as server,
        pytest.raises(NoEndpointLeft, match="307"),
    ):
        ask_all(section(server), ["2+3?"])


def test_a_refused_question_is_not_retried() -> None:
    def script(ask: Ask) -> Any:
        return Fails(400, "not this") if ask.text == "bad" else FIVE

    with LoopbackTeacher(script) as server, pytest.raises(Refused, match="t0: 400 not this"):
        ask_all(section(server, endpoint={"concurrency": 1}), ["2+3?", "bad"])
    assert server.num_calls == 2


def test_an_unknown_model_ends_soon() -> None:
    with (
        LoopbackTeacher(lambda ask: Fails(400, "no such model")) as server,
        pytest.raises(NoEndpointLeft, match="400 no such model"),
    ):
        ask_all(section(server), ["2+3?"] * 20)
    assert server.num_calls < 40


def test_other_endpoints_take_over_from_a_dead_one(caplog: pytest.LogCaptureFixture) -> None:
    with LoopbackTeacher(lambda ask: FIVE, latency_s=0.002) as living:
        dying: LoopbackTeacher

        def script(ask: Ask) -> Any:
            return FIVE if ask.number <= 10 else Resets()

        with LoopbackTeacher(script) as dying:
            both = section(dying, living, endpoint={"concurrency": 2}, put_aside_s=60.0)
            replies = ask_all(both, [str(i) for i in range(60)])
    assert len(replies) == 60
    assert {reply.endpoint for reply in replies} == {"t0", "t1"}
    assert dying.num_calls < 20  # it was put aside
    assert "t0 rests for 60 s: no connection" in caplog.text


def test_calls_are_shared_by_weight() -> None:
    with LoopbackTeacher(lambda ask: FIVE) as heavy, LoopbackTeacher(lambda ask: FIVE) as light:
        teacher = section(heavy, light)
        weighted = [
            one.model_copy(update={"weight": w})
            for one, w in zip(teacher.endpoints, (9.0, 1.0), strict=True)
        ]
        patient = {"endpoints": weighted, "timeout_s": 60.0}  # else a slow one is asked again
        ask_all(teacher.model_copy(update=patient), [str(i) for i in range(200)])
    assert heavy.num_calls + light.num_calls == 200
    assert 20 <= light.num_calls <= 40  # 20, and whenever the other is full


def test_calls_in_flight_reach_and_never_exceed_the_concurrency() -> None:
    with LoopbackTeacher(lambda ask: FIVE, latency_s=0.05) as server:
        ask_all(section(server, endpoint={"concurrency": 8}), [str(i) for i in range(40)])
    assert server.most_in_flight == 8


def test_the_request_body_follows_the_recipe() -> None:
    sampling = AskSection(temperature=0.5, top_p=0.9, max_tokens=7, extra={"min_p": 0.1})
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]

    async def run() -> None:
        async with Teacher(section(server)) as teacher:
            await teacher.ask(messages, sampling, seed=5)
            with_seed = sampling.model_copy(update={"send_seed": True})
            await teacher.ask(messages, with_seed, prefill="<think>\n", seed=5)

    with LoopbackTeacher(lambda ask: FIVE) as server:
        asyncio.run(run())
    plain, prefilled = (ask.body for ask in server.asks)
    expected = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "min_p": 0.1, "model": "m"}
    assert plain == {**expected, "messages": messages}
    said = [*messages, {"role": "assistant", "content": "<think>\n"}]
    flags = {"add_generation_prompt": False, "continue_final_message": True}
    assert prefilled == {**expected, **flags, "messages": said, "seed": 5}


def test_the_key_goes_into_the_header_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    echo = f"Incorrect API key provided: {KEY}."
    with LoopbackTeacher(lambda ask: Fails(401, echo)) as server:
        with pytest.raises(NoEndpointLeft) as left:
            ask_all(section(server, endpoint={"key_env": "TEACHER_KEY"}), ["2+3?"])
        assert server.asks[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "Incorrect API key provided: [key]." in str(left.value)
    assert KEY not in str(left.value) + caplog.text


def test_a_reply_that_repeats_the_key_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    with LoopbackTeacher(lambda ask: Says(f"your key is {KEY}")) as server:
        [reply] = ask_all(section(server, endpoint={"key_env": "TEACHER_KEY"}), ["2+3?"])
    assert reply.content == "your key is [key]"


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ({"url": "127.0.0.1:8000"}, "teacher.endpoints.0.url: '127.0.0.1:8000' is not an address"),
        ({"url": f"http://me:{KEY}@h/v1"}, "url: holds a user, password or query"),
        ({"url": f"http://h/v1?key={KEY}"}, "url: holds a user, password or query"),
        ({"key_env": KEY}, "key_env: is not the name of a variable in capitals"),
        ({"key_env": "NOT_THERE"}, "the environment does not hold NOT_THERE; export NOT_THERE="),
    ],
)
def test_address_errors_do_not_repeat_the_key(endpoint: dict[str, str], message: str) -> None:
    one = {"url": "http://h/v1", "model": "m", **endpoint}
    teacher = TeacherSection.model_validate({"endpoints": [one]})
    with pytest.raises(ConfigError) as refused:
        check_endpoints(teacher.endpoints, section="teacher")
    assert message in str(refused.value)
    assert KEY not in str(refused.value)


def test_finished_results_come_before_an_error() -> None:
    async def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    async def run() -> list[int]:
        found = []
        with pytest.raises(ValueError, match="three"):
            async for one in in_parallel(range(100), work, limit=4):
                found.append(one)
        return found

    assert sorted(asyncio.run(run())) == [0, 1, 2]
