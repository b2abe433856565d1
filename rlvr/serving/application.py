"""Replicas under Ray Serve and the router before them, until Ctrl-C or SIGTERM.

connect to Ray --> deploy each arm --> all answer --> route, and look at them every few seconds
                                       one does not:  Ray Serve replaces who does not answer
                                       its last words, and the end
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from rlvr.cluster import Cluster, connected
from rlvr.config import ServeConfig
from rlvr.errors import ConfigError, RLVRError
from rlvr.serving.arm import ServeArm
from rlvr.serving.replica import Replica
from rlvr.serving.replicas import replica_specs, shares
from rlvr.serving.reply_cache import ReplyCache
from rlvr.serving.router import Router
from rlvr.serving.server_spec import ServerSpec
from rlvr.serving.split import TrafficSplit
from rlvr.serving.vllm_server import KEY_ENV
from rlvr.stopping import in_daemon_thread, stop_on_signals

__all__ = ["serve_forever"]

IN_TURNS = "ray.serve.experimental.round_robin_router:RoundRobinRouter"
NICENESS = "RAY_worker_niceness"  # Ray starts its workers at 15
FIRST_LOOKS_S = 0.5  # between two looks while the servers start
STOP_S = 30.0  # for a replica to end its server
_LAST_WORDS = re.compile(r"RLVRError: (the server .*)")


def serve_forever(config: ServeConfig, *, folder: Path, say: Callable[[str], None]) -> None:
    """Returns after Ctrl-C or SIGTERM, when all servers have ended.

    Raises:
        ConfigError: the address is taken, or the cluster has too few GPUs.
        RLVRError: a server does not start; the text has its last words and its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(NICENESS, "0")  # a server is waited for
    with connected(logs=folder, weights_bytes=0) as cluster:
        asyncio.run(_serve(config, cluster, folder=folder, say=say))


async def _serve(
    config: ServeConfig, cluster: Cluster, *, folder: Path, say: Callable[[str], None]
) -> None:
    stop = stop_on_signals(lambda _: say("stopping the servers"))
    _check_gpus(config, cluster)
    num_servers = len(shares(config)) * config.serve.replicas
    say(f"starting {num_servers} vLLM server(s), which takes a minute or so; logs: {folder}")
    arms = await in_daemon_thread(lambda: _deploy(config, cluster, folder=folder))
    try:
        await _all_up(config, stop=stop)
        if not stop.is_set():
            await _route(config, arms, stop=stop, say=say)
    finally:
        await in_daemon_thread(lambda: _end(config))


def _check_gpus(config: ServeConfig, cluster: Cluster) -> None:
    serve, num_models = config.serve, len(shares(config))
    needed = num_models * serve.replicas * serve.tensor_parallel
    if not cluster.is_cpu and needed > cluster.num_gpus:
        raise ConfigError(
            f"serve.replicas: {num_models} model(s) x {serve.replicas} replicas x "
            f"{serve.tensor_parallel} GPUs need {needed} GPUs, and the cluster has "
            f"{cluster.num_gpus}; lower serve.replicas or serve.tensor_parallel"
        )


def _deploy(config: ServeConfig, cluster: Cluster, *, folder: Path) -> dict[str, ServeArm]:
    """Each arm as an application of Ray Serve; returns before their replicas stand."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)  # what went wrong is said by us
    serve.start(proxy_location="Disabled")  # the router stands here
    specs = replica_specs(config, is_cpu=cluster.is_cpu)
    targets = [
        serve.RunTarget(
            target=_application(config, of_arm[0], cluster, folder=folder / arm),
            name=_name(config, arm),
            route_prefix=None,
        )
        for arm, of_arm in specs.items()
    ]
    handles = serve.run_many(targets, wait_for_applications_running=False)
    return {
        arm: ServeArm(handle, num_replicas=config.serve.replicas)
        for arm, handle in zip(specs, handles, strict=True)
    }


def _application(config: ServeConfig, spec: ServerSpec, cluster: Cluster, *, folder: Path) -> Any:
    from ray import serve
    from ray.serve.config import RequestRouterConfig

    deployment = serve.deployment(
        Replica,
        name="replica",
        num_replicas=config.serve.replicas,
        max_ongoing_requests=2 * config.serve.max_concurrent,  # beyond them, Ray Serve queues
        health_check_period_s=config.serve.check_every_s,
        graceful_shutdown_timeout_s=STOP_S,
        max_constructor_retry_count=1,
        request_router_config=RequestRouterConfig(request_router_class=IN_TURNS),
        ray_actor_options={
            "num_cpus": 0,  # threads are shared out by the recipe
            "num_gpus": 0 if cluster.is_cpu else config.serve.tensor_parallel,
        },
    )
    return deployment.bind(
        spec, folder=str(folder.resolve()), deadline_s=config.serve.start_deadline_s
    )


async def _all_up(config: ServeConfig, *, stop: asyncio.Event) -> None:
    """Returns when all replicas answer, or at `stop`. Raises RLVRError where one does not start."""
    from ray import serve

    while not stop.is_set():
        applications = (await in_daemon_thread(serve.status)).applications
        ours = [applications[name] for name in _names(config)]
        for application in ours:
            if application.status == "DEPLOY_FAILED":
                raise RLVRError(_why(application))
        if all(application.status == "RUNNING" for application in ours):
            return
        await _wait(stop, FIRST_LOOKS_S)


def _why(application: Any) -> str:
    """The last words of the server that did not start, out of Ray Serve's traceback."""
    messages = [deployment.message for deployment in application.deployments.values()]
    found = [match[1] for message in messages if (match := _LAST_WORDS.search(message))]
    return found[0] if found else f"a replica does not start: {' '.join(messages)[-500:]}"


def _end(config: ServeConfig) -> None:
    """What stands, or is about to; Ray Serve itself ends with the cluster."""
    from ray import serve

    for name in _names(config):
        serve.delete(name)


async def _route(
    config: ServeConfig,
    arms: Mapping[str, ServeArm],
    *,
    stop: asyncio.Event,
    say: Callable[[str], None],
) -> None:
    """Listen, and look at the replicas, until `stop`."""
    router = Router(
        arms,
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
        while not stop.is_set():
            num_up = await in_daemon_thread(lambda: _num_up(config))
            for name, arm in arms.items():
                arm.num_up = num_up.get(name, 0)
            await _wait(stop, config.serve.check_every_s)
    finally:
        await runner.cleanup()


def _num_up(config: ServeConfig) -> dict[str, int]:
    """Arm -> replicas that run, as Ray Serve has it."""
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    try:
        applications = serve.status().applications
    except (RayError, RayServeException):  # its controller is away for a moment
        return {}
    return {
        arm: sum(
            deployment.replica_states.get("RUNNING", 0)
            for deployment in applications[_name(config, arm)].deployments.values()
        )
        for arm in shares(config)
        if _name(config, arm) in applications
    }


def _name(config: ServeConfig, arm: str) -> str:
    """Of an application: a cluster may have others."""
    return f"{config.name}-{arm}"


def _names(config: ServeConfig) -> list[str]:
    return [_name(config, arm) for arm in shares(config)]


async def _listen(runner: web.AppRunner, *, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise ConfigError(
            f"serve.port: {host}:{port} cannot be listened on: {error.strerror}; give another "
            "serve.port, 0 for a free one"
        ) from None


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Until `stop`, so long at most."""
    waiting = asyncio.ensure_future(stop.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
