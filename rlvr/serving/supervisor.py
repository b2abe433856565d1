"""Servers and the router before them, kept alive until Ctrl-C or SIGTERM.

start all --> wait until all answer --> route, and look at each every few seconds
              who dies here: its last       who dies here: out of turn, started again
              words, and the end
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from rlvr.config import ServeConfig
from rlvr.errors import ConfigError, RLVRError
from rlvr.serving.replicas import replica_specs, shares
from rlvr.serving.reply_cache import ReplyCache
from rlvr.serving.round_robin import Replica, RoundRobin
from rlvr.serving.router import Router
from rlvr.serving.server_spec import server_command, server_env
from rlvr.serving.split import TrafficSplit
from rlvr.serving.vllm_server import KEY_ENV, ServerProcess, free_port
from rlvr.stopping import in_daemon_thread, stop_on_signals

__all__ = ["KeptServer", "keep_alive", "serve_forever"]

logger = logging.getLogger(__name__)

HEALTH_S = 5.0  # for an answer of /health
FIRST_LOOK_S = 0.5  # between two looks while the servers start


@dataclass(slots=True, kw_only=True)
class KeptServer:
    """A server, its place in the router's turns, and since when it has been silent."""

    process: ServerProcess
    replica: Replica
    answered_at: float = field(default_factory=time.monotonic)  # or was started


async def serve_forever(
    config: ServeConfig, *, folder: Path, is_cpu: bool, say: Callable[[str], None]
) -> None:
    """Returns after Ctrl-C or SIGTERM, when all servers have ended.

    Raises:
        ConfigError: the address is taken.
        RLVRError: a server does not start; the text has its last words and its log.
    """
    stop = stop_on_signals(lambda _: say("stopping the servers"))
    arms = _servers(config, folder=folder, is_cpu=is_cpu)
    servers = [server for of_arm in arms.values() for server in of_arm]
    try:
        for server in servers:
            server.process.start()
        say(f"starting {len(servers)} vLLM server(s), which takes a minute or so; logs: {folder}")
        async with aiohttp.ClientSession() as session:
            deadline_s = config.serve.start_deadline_s
            await _all_up(servers, session, stop=stop, deadline_s=deadline_s)
            if not stop.is_set():
                await _route(config, arms, session, stop=stop, say=say)
    finally:
        await asyncio.gather(*(in_daemon_thread(server.process.stop) for server in servers))


async def keep_alive(
    servers: Sequence[KeptServer],
    session: aiohttp.ClientSession,
    *,
    stop: asyncio.Event,
    every_s: float,
    deadline_s: float,
) -> None:
    """Look at each server until `stop`; who is dead, or silent for `deadline_s`, starts again."""
    while not stop.is_set():
        for server in servers:
            server.replica.is_up = await _is_healthy(server, session)
            silent_s = time.monotonic() - server.answered_at
            if not server.process.is_running or silent_s > deadline_s:
                logger.warning(
                    "%s is started again; see %s", server.replica.url, server.process.log
                )
                await in_daemon_thread(server.process.stop)
                server.process.start()
                server.answered_at = time.monotonic()
        await _wait(stop, every_s)


def _servers(config: ServeConfig, *, folder: Path, is_cpu: bool) -> dict[str, list[KeptServer]]:
    arms: dict[str, list[KeptServer]] = {}
    for arm, specs in replica_specs(config, is_cpu=is_cpu).items():
        for number, spec in enumerate(specs):
            port = free_port()
            process = ServerProcess(
                server_command(spec, port=port, folder=folder / arm),
                env=server_env(spec),
                url=f"http://{spec.host}:{port}",
                log=folder / f"{arm}-{number}.log",
            )
            replica = Replica(url=process.url, is_up=False)
            arms.setdefault(arm, []).append(KeptServer(process=process, replica=replica))
    return arms


async def _all_up(
    servers: Sequence[KeptServer],
    session: aiohttp.ClientSession,
    *,
    stop: asyncio.Event,
    deadline_s: float,
) -> None:
    end = time.monotonic() + deadline_s
    while not stop.is_set() and not all(server.replica.is_up for server in servers):
        for server in servers:
            server.replica.is_up = await _is_healthy(server, session)
            process = server.process
            if not process.is_running:
                raise RLVRError(
                    f"a server ended: {process.last_words()} (all of it: {process.log})"
                )
            if not server.replica.is_up and time.monotonic() > end:
                raise RLVRError(
                    f"a server was not there within {deadline_s:g} s; see {process.log}, or raise "
                    "serve.start_deadline_s"
                )
        await _wait(stop, FIRST_LOOK_S)


async def _route(
    config: ServeConfig,
    arms: Mapping[str, Sequence[KeptServer]],
    session: aiohttp.ClientSession,
    *,
    stop: asyncio.Event,
    say: Callable[[str], None],
) -> None:
    """Listen, and keep the servers alive, until `stop`."""
    turns = {arm: RoundRobin([server.replica for server in arms[arm]]) for arm in arms}
    router = Router(
        turns,
        split=TrafficSplit(shares(config), seed=config.seed),
        cache=ReplyCache(config.serve.cache_replies),
        api_key=os.environ.get(KEY_ENV),
    )
    runner = web.AppRunner(
        router.app(),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,  # nobody waits: the replica need not write on
    )
    await runner.setup()
    try:
        await _listen(runner, host=config.serve.host, port=config.serve.port)
        host, port = runner.addresses[0][:2]
        say(
            f"http://{host}:{port}/v1 serves {config.model.path}; numbers: /metrics; Ctrl-C ends it"
        )
        await keep_alive(
            [server for of_arm in arms.values() for server in of_arm],
            session,
            stop=stop,
            every_s=config.serve.check_every_s,
            deadline_s=config.serve.start_deadline_s,
        )
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, *, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise ConfigError(
            f"serve.port: {host}:{port} cannot be listened on: {error.strerror}; give another "
            "serve.port, 0 for a free one"
        ) from None


async def _is_healthy(server: KeptServer, session: aiohttp.ClientSession) -> bool:
    timeout = aiohttp.ClientTimeout(total=HEALTH_S)
    try:
        async with session.get(f"{server.replica.url}/health", timeout=timeout) as reply:
            is_healthy = bool(reply.status == 200)
    except (aiohttp.ClientError, TimeoutError):
        is_healthy = False
    if is_healthy:
        server.answered_at = time.monotonic()
    return is_healthy


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Until `stop`, so long at most."""
    waiting = asyncio.ensure_future(stop.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
