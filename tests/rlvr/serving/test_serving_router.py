"""The router in front of scripted models, which count their requests."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rlvr.serving.replica import ArmReply, BrokenOff, NoReplica, ReplicaReply
from rlvr.serving.router import Router
from rlvr.serving.traffic import ReplyCache, Traffic, TrafficSplit, quantile, reply_key

ASK = {"model": "m", "messages": [{"role": "user", "content": "2+3?"}]}
DELTAS = [{"reasoning": "2+3 is "}, {"reasoning": "5"}, {"content": "5"}]


class Model:
    """A scripted arm: its reply names it; `fault` breaks it."""

    def __init__(self, name: str, *, num_up: int = 1) -> None:
        self.name = name
        self.num_up = num_up
        self.num_asked = 0
        self.fault = ""

    @asynccontextmanager
    async def ask(
        self, path: str, body: Mapping[str, Any] | None = None
    ) -> AsyncIterator[ArmReply]:
        if not self.num_up:
            raise NoReplica("no replica answers")
        self.num_asked += 1
        is_stream = bool(body and body.get("stream"))
        reply = self._broken() if self.fault == "500" else self._reply(is_stream=is_stream)
        yield reply, self._events()

    def _broken(self) -> ReplicaReply:
        return ReplicaReply(
            status=500, content_type="application/json", body=b'{"error": "broken"}'
        )

    def _reply(self, *, is_stream: bool) -> ReplicaReply:
        message = {"role": "assistant", "content": self.name, "reasoning": "hm"}
        whole = json.dumps({"choices": [{"message": message}], "n": self.num_asked}).encode()
        if is_stream:
            return ReplicaReply(status=200, content_type="text/event-stream", body=None)
        return ReplicaReply(status=200, content_type="application/json", body=whole)

    async def _events(self) -> AsyncIterator[bytes]:
        for delta in DELTAS:
            line = json.dumps({"choices": [{"delta": delta}]})
            yield f"data: {line}\n\n".encode()
            if self.fault == "dies":
                raise BrokenOff("the replica broke off")
            if self.fault == "hangs":
                await asyncio.Event().wait()
        yield b"data: [DONE]\n\n"
        await asyncio.Event().wait()  # the client does not wait for the end after the last event


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, handler_cancellation=True)  # as in the command
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


class Client:
    """The requests of a test."""

    def __init__(self, session: aiohttp.ClientSession, url: str, models: list[Model]) -> None:
        self.session, self.url, self.models = session, url, models

    async def ask(self, **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        async with self.session.post(f"{self.url}/v1/chat/completions", json=ASK | more) as reply:
            return reply.status, await reply.json(), dict(reply.headers)

    async def text(self, path: str) -> str:
        async with self.session.get(self.url + path) as reply:
            return await reply.text()


def run(
    test: Callable[[Client], Awaitable[None]],
    *,
    arms: Sequence[str] = ("a",),
    api_key: str | None = None,
) -> None:
    """Run `test` with a router in front of new models."""

    async def go() -> None:
        models = {name: Model(name) for name in arms}
        split = TrafficSplit({name: 1 / len(models) for name in models}, seed=0)
        router = Router(models, split=split, cache=ReplyCache(10), api_key=api_key)
        async with listening(router.app()) as url, aiohttp.ClientSession() as session:
            await test(Client(session, url, list(models.values())))

    asyncio.run(go())


def value(page: str, name: str) -> float:
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(name))


def test_requests_are_counted() -> None:
    async def test(client: Client) -> None:
        for _ in range(20):
            assert (await client.ask())[0] == 200
        page = await client.text("/metrics")
        assert value(page, 'rlvr_requests_total{arm="a",status="200"}') == 20
        assert value(page, 'rlvr_errors_total{arm="a"}') == 0
        assert value(page, 'rlvr_replicas_healthy{arm="a"}') == 1
        assert value(page, 'rlvr_requests_per_second{arm="a"}') > 0
        p50 = value(page, 'rlvr_latency_seconds{arm="a",quantile="0.5"}')
        assert 0 < p50 <= value(page, 'rlvr_latency_seconds{arm="a",quantile="0.95"}')

    run(test)


def test_the_second_of_two_equal_calls_comes_from_the_cache() -> None:
    async def test(client: Client) -> None:
        first = await client.ask(temperature=0, user="ann")
        second = await client.ask(temperature=0, user="ben")
        assert first[1] == second[1]
        assert [reply[2]["x-rlvr-cache"] for reply in (first, second)] == ["miss", "hit"]
        assert client.models[0].num_asked == 1
        await client.ask(temperature=0, max_tokens=9)
        await client.ask(temperature=0.5)
        await client.ask(temperature=0.5)
        await client.ask()
        assert client.models[0].num_asked == 5
        assert value(await client.text("/metrics"), 'rlvr_cache_hits_total{arm="a"}') == 1

    run(test)


def test_a_broken_stream_is_an_error_for_the_client() -> None:
    async def test(client: Client) -> None:
        client.models[0].fault = "dies"
        path = f"{client.url}/v1/chat/completions"
        async with client.session.post(path, json=ASK | {"stream": True}) as reply:
            with pytest.raises(aiohttp.ClientPayloadError):
                await reply.text()
        page = await client.text("/metrics")
        assert value(page, 'rlvr_requests_total{arm="a",status="502"}') == 1
        assert value(page, 'rlvr_errors_total{arm="a"}') == 1

    run(test)


@pytest.mark.parametrize(
    ("fault", "last_line", "status"),
    [("", b"data: [DONE]\n", 200), ("hangs", b"\n", 499)],
)
def test_a_client_may_close_the_connection_after_the_last_event(
    fault: str, last_line: bytes, status: int
) -> None:
    async def test(client: Client) -> None:
        client.models[0].fault = fault
        path = f"{client.url}/v1/chat/completions"
        async with client.session.post(path, json=ASK | {"stream": True}) as reply:
            while await reply.content.readline() != last_line:
                pass
            reply.close()
        counted = f'rlvr_requests_total{{arm="a",status="{status}"}} 1'
        async with asyncio.timeout(30):
            while counted not in await client.text("/metrics"):
                await asyncio.sleep(0.02)

    run(test)


def test_without_replicas_the_status_is_503() -> None:
    async def test(client: Client) -> None:
        client.models[0].num_up = 0
        status, reply, _ = await client.ask()
        assert (status, reply["error"]["message"]) == (503, "no replica of arm a answers")
        for path in ("health", "v1/models"):
            async with client.session.get(f"{client.url}/{path}") as answer:
                assert answer.status == 503, path

    run(test)


def test_a_body_that_is_not_a_json_object_is_refused() -> None:
    async def test(client: Client) -> None:
        for text in ("{", "[1]"):
            path = f"{client.url}/v1/chat/completions"
            async with client.session.post(path, data=text) as answer:
                assert answer.status == 400, text

    run(test)


def test_an_error_of_a_server_is_forwarded_and_not_cached() -> None:
    async def test(client: Client) -> None:
        client.models[0].fault = "500"
        assert (await client.ask(temperature=0))[0] == 500
        client.models[0].fault = ""
        assert (await client.ask(temperature=0))[0] == 200
        assert value(await client.text("/metrics"), 'rlvr_errors_total{arm="a"}') == 1

    run(test)


def test_reasoning_has_both_of_its_names() -> None:
    async def test(client: Client) -> None:
        message = (await client.ask())[1]["choices"][0]["message"]
        assert message["reasoning"] == message["reasoning_content"] == "hm"
        async with client.session.post(
            f"{client.url}/v1/chat/completions", json=ASK | {"stream": True}
        ) as reply:
            lines = [line for line in (await reply.text()).split("\n") if line]
        assert lines[-1] == "data: [DONE]"
        deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines[:-1]]
        assert deltas[0] == {"reasoning": "2+3 is ", "reasoning_content": "2+3 is "}
        assert deltas[2] == {"content": "5"}

    run(test)


def test_a_request_without_a_key_is_refused_even_by_the_cache() -> None:
    async def test(client: Client) -> None:
        path = f"{client.url}/v1/chat/completions"
        for given, status in (("secret", 200), ("secret", 200), ("guess", 401), ("", 401)):
            headers = {"Authorization": f"Bearer {given}"}
            body = ASK | {"temperature": 0}
            async with client.session.post(path, json=body, headers=headers) as reply:
                assert reply.status == status
        async with client.session.get(f"{client.url}/health") as reply:
            assert reply.status == 200
        assert client.models[0].num_asked == 1

    run(test, api_key="secret")


def test_a_user_stays_with_one_arm() -> None:
    async def test(client: Client) -> None:
        split = TrafficSplit({"a": 0.5, "b": 0.5}, seed=0)
        for user in ("ann", "ben", "cid", "dan"):
            for _ in range(3):
                _, reply, headers = await client.ask(user=user)
                assert headers["x-rlvr-arm"] == split.arm(user)
                assert reply["choices"][0]["message"]["content"] == split.arm(user)

    run(test, arms=("a", "b"))


def test_a_split_in_halves_halves_a_thousand_users() -> None:
    users = [f"user-{i}" for i in range(1000)]
    split = TrafficSplit({"a": 0.5, "b": 0.5}, seed=0)
    arms = [split.arm(user) for user in users]
    assert abs(arms.count("a") - 500) <= 50
    assert arms == [split.arm(user) for user in users]
    other = TrafficSplit({"a": 0.5, "b": 0.5}, seed=1)
    assert arms != [other.arm(user) for user in users]
    few = TrafficSplit({"a": 0.9, "b": 0.1}, seed=0)
    assert abs([few.arm(user) for user in users].count("b") - 100) <= 30


def test_only_a_deterministic_reply_has_a_cache_key() -> None:
    assert reply_key("a", "/v1/completions", {"prompt": "x"}) is None
    assert reply_key("a", "/v1/completions", {"prompt": "x", "temperature": 0.1}) is None
    zero = {"prompt": "x", "temperature": 0}
    assert reply_key("a", "/v1/completions", zero | {"stream": True}) is None
    key = reply_key("a", "/v1/completions", zero)
    assert key is not None
    assert key == reply_key("a", "/v1/completions", zero | {"user": "ann"})
    assert key != reply_key("b", "/v1/completions", zero)
    assert key != reply_key("a", "/v1/completions", zero | {"seed": 1})


def test_the_cache_evicts_the_least_recently_used_reply() -> None:
    cache = ReplyCache(2)
    for key in ("a", "b"):
        cache.put(key, key.encode())
    assert cache.get("a") == b"a"
    cache.put("c", b"c")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"a", None, b"c")
    nothing = ReplyCache(0)
    nothing.put("a", b"a")
    assert nothing.get("a") is None


def test_traffic_metrics() -> None:
    now = 100.0
    traffic = Traffic(("a",), clock=lambda: now)
    for i in range(20):
        now += 1.0
        traffic.add("a", status=500 if i == 7 else 200, latency_s=(i + 1) / 10)
    page = traffic.text({"a": 2})
    assert value(page, 'rlvr_requests_total{arm="a",status="200"}') == 19
    assert value(page, 'rlvr_errors_total{arm="a"}') == 1
    assert value(page, 'rlvr_requests_per_second{arm="a"}') == 1.0
    assert value(page, 'rlvr_latency_seconds{arm="a",quantile="0.5"}') == 1.0
    assert value(page, 'rlvr_latency_seconds{arm="a",quantile="0.95"}') == 1.9
    now += 60.0
    assert value(traffic.text({}), 'rlvr_requests_per_second{arm="a"}') == 0.0


@pytest.mark.parametrize(("q", "expected"), [(0.5, 2.0), (0.95, 3.0), (0.0, 1.0)])
def test_a_quantile_is_one_of_the_values(q: float, expected: float) -> None:
    assert quantile([3.0, 1.0, 2.0], q) == expected


def test_the_quantile_of_no_values_is_nan() -> None:
    assert math.isnan(quantile([], 0.5))
