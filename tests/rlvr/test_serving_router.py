"""The router in front of two real servers on loopback, which count what they are asked."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rlvr.serving.reply_cache import ReplyCache, reply_key
from rlvr.serving.round_robin import Replica, RoundRobin
from rlvr.serving.router import Router
from rlvr.serving.split import TrafficSplit
from rlvr.serving.traffic import Traffic, quantile

ASK = {"model": "m", "messages": [{"role": "user", "content": "2+3?"}]}
DELTAS = [{"reasoning": "2+3 is "}, {"reasoning": "5"}, {"content": "5"}]


class Backend:
    """A scripted server: its reply names it; `fault` breaks it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_asked = 0
        self.bearers: list[str | None] = []
        self.fault = ""

    async def reply(self, request: web.Request) -> web.StreamResponse:
        self.num_asked += 1
        self.bearers.append(request.headers.get("Authorization"))
        body = await request.json()
        if self.fault == "500":
            return web.json_response({"error": "broken"}, status=500)
        if body.get("stream"):
            return await self._stream(request)
        message = {"role": "assistant", "content": self.name, "reasoning": "hm"}
        return web.json_response({"choices": [{"message": message}], "n": self.num_asked})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        for delta in DELTAS:
            line = json.dumps({"choices": [{"delta": delta}]})
            await reply.write(f"data: {line}\n\n".encode())
            if self.fault == "dies":
                assert request.transport is not None
                request.transport.close()
                return reply
        await reply.write(b"data: [DONE]\n\n")
        return reply


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def of_backend(backend: Backend) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", backend.reply)
    async with listening(app) as url:
        yield url


class Client:
    """What a test asks the router."""

    def __init__(self, session: aiohttp.ClientSession, url: str, backends: list[Backend]) -> None:
        self.session, self.url, self.backends = session, url, backends

    async def ask(self, **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        async with self.session.post(f"{self.url}/v1/chat/completions", json=ASK | more) as reply:
            return reply.status, await reply.json(), dict(reply.headers)

    async def text(self, path: str) -> str:
        async with self.session.get(self.url + path) as reply:
            return await reply.text()


def run(test: Callable[[Client], Awaitable[None]], *, arms: dict[str, int] | None = None) -> None:
    """`test` with a router before fresh backends: so many for each arm."""

    async def go() -> None:
        async with AsyncExitStack() as stack:
            backends, pools = [], {}
            for arm, count in (arms or {"a": 2}).items():
                of_arm = [Backend(f"{arm}{i}") for i in range(count)]
                urls = [await stack.enter_async_context(of_backend(b)) for b in of_arm]
                pools[arm] = RoundRobin([Replica(url=url) for url in urls])
                backends += of_arm
            split = TrafficSplit({arm: 1 / len(pools) for arm in pools}, seed=0)
            router = Router(pools, split=split, cache=ReplyCache(10))
            url = await stack.enter_async_context(listening(router.app()))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            await test(Client(session, url, backends))

    asyncio.run(go())


def value(page: str, name: str) -> float:
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(name))


def test_two_replicas_take_turns() -> None:
    async def test(client: Client) -> None:
        for _ in range(20):
            assert (await client.ask())[0] == 200
        assert [backend.num_asked for backend in client.backends] == [10, 10]
        page = await client.text("/metrics")
        assert value(page, 'rlvr_requests_total{arm="a",status="200"}') == 20
        assert value(page, 'rlvr_errors_total{arm="a"}') == 0
        assert value(page, 'rlvr_replicas_healthy{arm="a"}') == 2
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
        assert sum(backend.num_asked for backend in client.backends) == 1
        await client.ask(temperature=0, max_tokens=9)
        await client.ask(temperature=0.5)
        await client.ask(temperature=0.5)
        await client.ask()
        assert sum(backend.num_asked for backend in client.backends) == 5
        assert value(await client.text("/metrics"), 'rlvr_cache_hits_total{arm="a"}') == 1

    run(test)


def test_a_dead_replica_is_left_out_and_no_request_is_lost() -> None:
    async def test() -> None:
        alive = Backend("alive")
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(of_backend(alive))
            pool = RoundRobin([Replica(url="http://127.0.0.1:9"), Replica(url=url)])
            split = TrafficSplit({"a": 1.0}, seed=0)
            router = Router({"a": pool}, split=split, cache=ReplyCache(0))
            url = await stack.enter_async_context(listening(router.app()))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            assert [(await Client(session, url, []).ask())[0] for _ in range(4)] == [200] * 4
        assert alive.num_asked == 4
        assert [replica.is_up for replica in pool.replicas] == [False, True]

    asyncio.run(test())


def test_a_stream_that_breaks_off_is_an_error_and_no_whole_reply() -> None:
    async def test(client: Client) -> None:
        client.backends[0].fault = "dies"
        for _ in range(4):  # a streamed reply dies half-way on one of two
            try:
                async with client.session.post(
                    f"{client.url}/v1/chat/completions", json=ASK | {"stream": True}
                ) as reply:
                    assert (await reply.text()).endswith("data: [DONE]\n\n")
            except aiohttp.ClientError:
                pass
        page = await client.text("/metrics")
        assert value(page, 'rlvr_errors_total{arm="a"}') == 2

    run(test)


def test_where_no_replica_answers_it_is_said() -> None:
    async def test() -> None:
        pool = RoundRobin([Replica(url="http://127.0.0.1:9"), Replica(url="http://127.0.0.1:9")])
        router = Router({"a": pool}, split=TrafficSplit({"a": 1.0}, seed=0), cache=ReplyCache(0))
        async with listening(router.app()) as url, aiohttp.ClientSession() as session:
            client = Client(session, url, [])
            status, reply, _ = await client.ask()
            assert (status, reply["error"]["message"]) == (503, "no replica of arm a answers")
            assert pool.num_up == 0
            async with session.get(f"{url}/health") as answer:
                assert answer.status == 503
            async with session.post(f"{url}/v1/chat/completions", data="{") as answer:
                assert answer.status == 400

    asyncio.run(test())


def test_an_error_of_a_server_is_passed_on_and_not_kept() -> None:
    async def test(client: Client) -> None:
        for backend in client.backends:
            backend.fault = "500"
        assert (await client.ask(temperature=0))[0] == 500
        for backend in client.backends:
            backend.fault = ""
        assert (await client.ask(temperature=0))[0] == 200
        assert value(await client.text("/metrics"), 'rlvr_errors_total{arm="a"}') == 1

    run(test)


def test_a_thought_goes_by_both_of_its_names() -> None:
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


def test_who_has_no_key_is_refused_even_by_the_cache() -> None:
    async def test() -> None:
        backend = Backend("a")
        async with AsyncExitStack() as stack:
            pool = RoundRobin([Replica(url=await stack.enter_async_context(of_backend(backend)))])
            split, cache = TrafficSplit({"a": 1.0}, seed=0), ReplyCache(10)
            router = Router({"a": pool}, split=split, cache=cache, api_key="secret")
            url = await stack.enter_async_context(listening(router.app()))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            path = f"{url}/v1/chat/completions"
            for given, status in (("secret", 200), ("secret", 200), ("guess", 401), ("", 401)):
                headers = {"Authorization": f"Bearer {given}"}
                body = ASK | {"temperature": 0}
                async with session.post(path, json=body, headers=headers) as reply:
                    assert reply.status == status
            async with session.get(f"{url}/health") as reply:
                assert reply.status == 200
        assert backend.bearers == ["Bearer secret"]

    asyncio.run(test())


def test_a_user_stays_with_one_arm() -> None:
    async def test(client: Client) -> None:
        split = TrafficSplit({"a": 0.5, "b": 0.5}, seed=0)
        for user in ("ann", "ben", "cid", "dan"):
            for _ in range(3):
                _, reply, headers = await client.ask(user=user)
                assert headers["x-rlvr-arm"] == split.arm(user)
                assert reply["choices"][0]["message"]["content"] == f"{split.arm(user)}0"

    run(test, arms={"a": 1, "b": 1})


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


def test_only_a_reply_that_cannot_come_out_otherwise_has_a_key() -> None:
    assert reply_key("a", "/v1/completions", {"prompt": "x"}) is None
    assert reply_key("a", "/v1/completions", {"prompt": "x", "temperature": 0.1}) is None
    zero = {"prompt": "x", "temperature": 0}
    assert reply_key("a", "/v1/completions", zero | {"stream": True}) is None
    key = reply_key("a", "/v1/completions", zero)
    assert key is not None
    assert key == reply_key("a", "/v1/completions", zero | {"user": "ann"})
    assert key != reply_key("b", "/v1/completions", zero)
    assert key != reply_key("a", "/v1/completions", zero | {"seed": 1})


def test_the_cache_forgets_what_nobody_asked_for_the_longest() -> None:
    cache = ReplyCache(2)
    for key in ("a", "b"):
        cache.put(key, key.encode())
    assert cache.get("a") == b"a"
    cache.put("c", b"c")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"a", None, b"c")
    nothing = ReplyCache(0)
    nothing.put("a", b"a")
    assert nothing.get("a") is None


def test_numbers_of_traffic() -> None:
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


def test_of_no_values_there_is_no_quantile() -> None:
    assert math.isnan(quantile([], 0.5))
