"""Run `rlvr serve`: replicas under Ray Serve and the router in front of them, until stopped.

    connect to Ray --> deploy each arm --> wait until all replicas run --> route requests
                                                                           check the replicas

Ray Serve replaces a replica that fails its health check.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from rlvr.cluster.ray_cluster import Cluster, connected
from rlvr.cluster.signals import in_daemon_thread, stop_on_signals, unless_stopped
from rlvr.errors import ConfigError, RLVRError, Stopped, one_line
from rlvr.serving.replica import Replica, ServeArm
from rlvr.serving.router import Router
from rlvr.serving.serve_config import ServeConfig
from rlvr.serving.server_spec import replica_specs, shares
from rlvr.serving.traffic import ReplyCache, TrafficSplit
from rlvr.serving.vllm_server import KEY_ENV

__all__ = ["serve_forever"]

logger = logging.getLogger(__name__)

ROUND_ROBIN = "ray.serve.experimental.round_robin_router:RoundRobinRouter"
START_POLL_S = 0.5
STOP_S = 30.0  # for a replica to stop its server
RUNNING_STATES = ("RUNNING", "RECOVERING", "UPDATING", "PENDING_MIGRATION")
_SERVER_ERROR = re.compile(r"RLVRError: (the server .*)")  # in Ray Serve's traceback


def serve_forever(
    config: ServeConfig, models: Mapping[str, str], *, folder: Path, say: Callable[[str], None]
) -> None:
    """Serve until Ctrl-C or SIGTERM; return when all servers have ended. `models`: by arm.

    Raises:
        ConfigError: the address is in use, or the cluster has too few GPUs.
        RLVRError: a server does not start; the message has its last error line and its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with connected(logs=folder, weights_bytes=0) as cluster:
        asyncio.run(_serve(config, models, cluster, folder=folder, say=say))


async def _serve(
    config: ServeConfig,
    models: Mapping[str, str],
    cluster: Cluster,
    *,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    stop = stop_on_signals(lambda _: say("stopping the servers"))
    num_servers = len(shares(config)) * config.serve.replicas
    num_gpus = num_servers * config.serve.tensor_parallel
    if not cluster.is_cpu and num_gpus > cluster.num_gpus:
        raise ConfigError(
            f"serve.replicas: {len(shares(config))} model(s) x {config.serve.replicas} replicas x "
            f"{config.serve.tensor_parallel} GPUs need {num_gpus} GPUs, and the cluster has "
            f"{cluster.num_gpus}; lower serve.replicas or serve.tensor_parallel"
        )
    say(f"starting {num_servers} vLLM server(s), which takes a minute or so; logs: {folder}")
    try:
        arms = await in_daemon_thread(lambda: _deploy(config, models, cluster, folder=folder))
        await unless_stopped(_until_running(config), stop, step=None)
        await _route(config, arms, stop=stop, say=say)
    except Stopped:
        pass
    finally:
        names = _names(config).values()
        await asyncio.gather(*(in_daemon_thread(partial(_delete, name)) for name in names))


def _deploy(
    config: ServeConfig, models: Mapping[str, str], cluster: Cluster, *, folder: Path
) -> dict[str, ServeArm]:
    """Deploy each arm as a Ray Serve application; return before their replicas run."""
    from ray import serve
    from ray.serve.config import RequestRouterConfig

    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)  # errors are reported here
    serve.start(proxy_location="Disabled")  # the router takes its place
    deployment = serve.deployment(
        Replica,
        name="replica",
        num_replicas=config.serve.replicas,
        max_ongoing_requests=2 * config.serve.max_concurrent,  # further requests are queued
        health_check_period_s=config.serve.check_every_s,
        graceful_shutdown_timeout_s=STOP_S,
        max_constructor_retry_count=1,
        request_router_config=RequestRouterConfig(request_router_class=ROUND_ROBIN),
        ray_actor_options={
            "num_cpus": 0,  # replica_specs divides the threads
            "num_gpus": 0 if cluster.is_cpu else config.serve.tensor_parallel,
            # otherwise Ray kills the watcher of the server before it can clean up
            "runtime_env": {"env_vars": {"RAY_kill_child_processes_on_worker_exit": "false"}},
        },
    )
    specs = replica_specs(config, models, is_cpu=cluster.is_cpu, num_cpus=cluster.num_cpus)
    targets = [
        serve.RunTarget(
            target=deployment.bind(
                specs[arm][0],
                folder=str((folder / arm).resolve()),
                deadline_s=config.serve.start_deadline_s,
            ),
            name=name,
            route_prefix=None,
        )
        for arm, name in _names(config).items()
    ]
    handles = serve.run_many(targets, wait_for_applications_running=False)
    return {
        arm: ServeArm(handle, num_replicas=config.serve.replicas)
        for arm, handle in zip(specs, handles, strict=True)
    }


async def _until_running(config: ServeConfig) -> None:
    """Return when all replicas answer. Raises RLVRError if one does not start."""
    deadline_s = config.serve.start_deadline_s + STOP_S  # the deadline of each server is earlier
    end = time.monotonic() + deadline_s
    while True:
        applications = (await in_daemon_thread(lambda: _applications(config))).values()
        if applications and all(one.status == "RUNNING" for one in applications):
            return
        messages = [" ".join(d.message for d in one.deployments.values()) for one in applications]
        for application, message in zip(applications, messages, strict=True):
            if found := _SERVER_ERROR.search(message):
                raise RLVRError(found[1])
            if application.status == "DEPLOY_FAILED":
                raise RLVRError(one_line(message))
        if time.monotonic() > end:
            raise RLVRError(
                f"not all replicas run after {deadline_s:g} s: {'; '.join(map(one_line, messages))}"
            )
        await asyncio.sleep(START_POLL_S)


async def _route(
    config: ServeConfig,
    arms: Mapping[str, ServeArm],
    *,
    stop: asyncio.Event,
    say: Callable[[str], None],
) -> None:
    """Route requests and check the replicas. Raises Stopped at `stop`."""
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
        handler_cancellation=True,  # a closed connection cancels the generation
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, config.serve.host, config.serve.port).start()
        except OSError as error:
            raise ConfigError(
                f"serve.port: cannot listen on {config.serve.host}:{config.serve.port}: "
                f"{error.strerror}; give another serve.port, or 0 for a free one"
            ) from None
        host, port = runner.addresses[0][:2]
        say(f"http://{host}:{port}/v1 serves {config.model.path}; metrics: /metrics; Ctrl-C stops")
        while True:
            checked = in_daemon_thread(lambda: _applications(config))
            for arm, application in (await unless_stopped(checked, stop, step=None)).items():
                arms[arm].num_up = sum(
                    num
                    for deployment in application.deployments.values()
                    for state, num in deployment.replica_states.items()
                    if state in RUNNING_STATES
                )
            await unless_stopped(asyncio.sleep(config.serve.check_every_s), stop, step=None)
    finally:
        await runner.cleanup()


def _names(config: ServeConfig) -> dict[str, str]:
    """Arm -> name of its Ray Serve application, different from others of the cluster."""
    return {arm: f"{config.name}-{arm}" for arm in shares(config)}


def _applications(config: ServeConfig) -> dict[str, Any]:
    """Arm -> status of its application; empty while Ray Serve's controller is not available."""
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    try:
        known = serve.status().applications
    except (RayError, RayServeException):
        return {}
    return {arm: known[name] for arm, name in _names(config).items() if name in known}


def _delete(name: str) -> None:
    from ray import serve

    try:
        serve.delete(name)
    except Exception as error:  # the other applications must end as well
        logger.warning("cannot delete %s: %s", name, error)
