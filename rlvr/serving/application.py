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
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from rlvr.cluster.ray_cluster import Cluster, connected
from rlvr.cluster.signals import in_daemon_thread, stop_on_signals, unless_stopped
from rlvr.errors import ConfigError, RLVRError, Stopped, one_line
from rlvr.serving.arm import ServeArm
from rlvr.serving.replica import Replica
from rlvr.serving.reply_cache import ReplyCache
from rlvr.serving.router import Router, TrafficSplit
from rlvr.serving.serve_config import ServeConfig
from rlvr.serving.server_spec import ServerSpec
from rlvr.serving.serving_plan import replica_specs, shares
from rlvr.serving.vllm_server import KEY_ENV

__all__ = ["serve_forever"]

logger = logging.getLogger(__name__)

IN_TURNS = "ray.serve.experimental.round_robin_router:RoundRobinRouter"
NICENESS = "RAY_worker_niceness"  # Ray starts its workers at 15
FIRST_LOOKS_S = 0.5  # between two looks while the servers start
RUNNING = ("RUNNING", "RECOVERING", "UPDATING", "PENDING_MIGRATION")  # states of a replica
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
    try:
        arms = await in_daemon_thread(lambda: _deploy(config, cluster, folder=folder))
        await unless_stopped(_all_up(config), stop, step=None)
        await _route(config, arms, stop=stop, say=say)
    except Stopped:
        pass
    finally:
        await _end(config)


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
    specs = replica_specs(config, is_cpu=cluster.is_cpu, num_cpus=cluster.num_cpus)
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
            # else the watcher of its server dies before it could end what is left
            "runtime_env": {"env_vars": {"RAY_kill_child_processes_on_worker_exit": "false"}},
        },
    )
    return deployment.bind(
        spec, folder=str(folder.resolve()), deadline_s=config.serve.start_deadline_s
    )


async def _all_up(config: ServeConfig) -> None:
    """Returns when all replicas answer. Raises RLVRError where one does not start."""
    deadline_s = config.serve.start_deadline_s + STOP_S  # a server's own deadline is earlier
    end = time.monotonic() + deadline_s
    while True:
        ours = await in_daemon_thread(lambda: _applications(config))
        if ours and all(application.status == "RUNNING" for application in ours.values()):
            return
        for application in ours.values():
            if application.status == "DEPLOY_FAILED" or _last_words(application):
                raise RLVRError(_last_words(application) or one_line(_message(application)))
        if time.monotonic() > end:
            waiting = "; ".join(one_line(_message(application)) for application in ours.values())
            raise RLVRError(f"not all replicas stand after {deadline_s:g} s: {waiting}")
        await asyncio.sleep(FIRST_LOOKS_S)


def _last_words(application: Any) -> str | None:
    """Of a server that did not start, out of Ray Serve's traceback."""
    found = _LAST_WORDS.search(_message(application))
    return found[1] if found else None


def _message(application: Any) -> str:
    return " ".join(deployment.message for deployment in application.deployments.values())


async def _end(config: ServeConfig) -> None:
    """What stands, or is about to; Ray Serve itself ends with the cluster."""
    from ray import serve

    def delete(name: str) -> None:
        try:
            serve.delete(name)
        except Exception as error:  # the rest is to end all the same
            logger.warning("%s is not ended: %s", name, error)

    names = [_name(config, arm) for arm in shares(config)]
    await asyncio.gather(*(in_daemon_thread(partial(delete, name)) for name in names))


async def _route(
    config: ServeConfig,
    arms: Mapping[str, ServeArm],
    *,
    stop: asyncio.Event,
    say: Callable[[str], None],
) -> None:
    """Listen, and look at the replicas. Raises Stopped at `stop`."""
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
        while True:
            look = in_daemon_thread(lambda: _num_up(config))
            for name, num_up in (await unless_stopped(look, stop, step=None)).items():
                arms[name].num_up = num_up
            await unless_stopped(asyncio.sleep(config.serve.check_every_s), stop, step=None)
    finally:
        await runner.cleanup()


def _num_up(config: ServeConfig) -> dict[str, int]:
    """Arm -> replicas that run, as Ray Serve has it; nothing while its controller is away."""
    return {
        arm: sum(
            count
            for deployment in application.deployments.values()
            for state, count in deployment.replica_states.items()
            if state in RUNNING
        )
        for arm, application in _applications(config).items()
    }


def _applications(config: ServeConfig) -> dict[str, Any]:
    """Arm -> its application's status; only those that Ray Serve knows of now."""
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    try:
        known = serve.status().applications
    except (RayError, RayServeException):
        return {}
    names = {arm: _name(config, arm) for arm in shares(config)}
    return {arm: known[name] for arm, name in names.items() if name in known}


def _name(config: ServeConfig, arm: str) -> str:
    """Of an application: a cluster may have others."""
    return f"{config.name}-{arm}"


async def _listen(runner: web.AppRunner, *, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise ConfigError(
            f"serve.port: {host}:{port} cannot be listened on: {error.strerror}; give another "
            "serve.port, 0 for a free one"
        ) from None
