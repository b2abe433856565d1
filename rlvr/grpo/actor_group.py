"""The actors of a run (engines, learner ranks, reward workers) and the resources they get.

recipe, cluster --> GPUs and threads of each actor --> start --> ActorGroup
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.cluster.actors import Actor, nothing
from rlvr.cluster.processes import actor_env
from rlvr.cluster.ray_cluster import Cluster
from rlvr.config import GenerationStageConfig
from rlvr.config.sections import RolloutSection
from rlvr.errors import ConfigError
from rlvr.grpo.graders import RewardWorker
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.learner.deepspeed_engine import LearnerSpec
from rlvr.learner.deepspeed_learner import DeepSpeedLearner
from rlvr.rollout.engine import VllmEngine
from rlvr.rollout.engine_requests import EngineSpec

__all__ = [
    "PROCESS_BYTES",
    "ActorGroup",
    "check_memory",
    "cpus_needed",
    "needed_bytes",
    "start_actors",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorGroup:
    """The actors of a run."""

    engines: tuple[Actor, ...]
    learners: tuple[Actor, ...]
    graders: tuple[Actor, ...]
    start_engine: Callable[[int], Awaitable[Actor]]  # start the i-th engine again
    start_grader: Callable[[int], Awaitable[Actor]]  # start the i-th reward worker again


def cpus_needed(config: GenerationStageConfig) -> int:
    """Return the CPU threads that the recipe assigns, or one for each actor."""
    engines = config.num_engines * (config.resources.engine_threads or 1)
    return engines + config.num_ranks * (config.resources.learner_threads or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shares:
    """Resources of one engine and of one learner rank."""

    engine_gpus: float
    learner_gpus: float
    engine_threads: int
    learner_threads: int


def _shares(config: GenerationStageConfig, cluster: Cluster) -> _Shares:
    """Divide GPUs and threads. Colocated engines and learners never compute at the same time, so
    each may use all cores; otherwise they get half of them each.

    Raises:
        ConfigError: the cluster has fewer GPUs than the run needs.
    """
    resources = config.resources
    num_engines, num_ranks = config.num_engines, config.num_ranks
    cores = cluster.num_cpus
    half = cores if config.colocated else max(1, cores // 2)
    engine_gpus, learner_gpus = resources.engine_gpus, resources.learner_gpus
    if cluster.is_cpu:  # a recipe for GPUs runs on a CPU as well
        engine_gpus = learner_gpus = 0.0
    elif engine_gpus is None:
        engine_gpus = float(config.rollout.tensor_parallel)
    if learner_gpus is None:
        learner_gpus = 1.0
    needed = num_engines * engine_gpus + num_ranks * learner_gpus
    if needed > cluster.num_gpus:
        raise ConfigError(
            f"resources: {num_engines} engines x {engine_gpus:g} GPUs and {num_ranks} learner "
            f"ranks x {learner_gpus:g} need {needed:g} GPUs, and the cluster has "
            f"{cluster.num_gpus}; lower resources.engine_gpus and resources.learner_gpus "
            "(fractions are allowed) or the number of engines and ranks"
        )
    return _Shares(
        engine_gpus=engine_gpus,
        learner_gpus=learner_gpus,
        engine_threads=resources.engine_threads or max(1, half // max(1, num_engines)),
        learner_threads=resources.learner_threads or max(1, half // max(1, num_ranks)),
    )


async def start_actors(
    config: GenerationStageConfig,
    cluster: Cluster,
    *,
    model_path: str,
    logs: Path,
    rewards: Mapping[str, Mapping[str, Any]],
    on_late: Callable[[], Awaitable[None]] = nothing,
) -> ActorGroup:
    """Start all actors and wait until they are ready.

    on_late: called when a call of an actor misses its deadline.

    Raises:
        ConfigError: the cluster is too small.
        ActorDied: an actor is not ready within resources.start_deadline_s, or failed.
    """
    shares = _shares(config, cluster)
    deadline_s = config.resources.start_deadline_s

    def grader(i: int) -> Actor:
        return replace(_grader(i, config, rewards, logs), on_late=on_late)

    def engine(i: int) -> Actor:
        actor = _engine(i, config, cluster, shares, model_path, logs)
        return replace(actor, on_late=on_late)

    async def started(actor: Actor) -> Actor:
        await actor.call("ready", deadline_s=deadline_s)
        return actor

    graders = [grader(i) for i in range(config.num_reward_workers)]
    engines = [engine(i) for i in range(config.num_engines)]
    learners = [
        replace(_learner(i, config, cluster, shares, model_path, logs), on_late=on_late)
        for i in range(config.num_ranks)
        if isinstance(config, GrpoConfig)
    ]
    await asyncio.gather(
        *map(started, (*graders, *engines)),
        _start_learners(learners, deadline_s=deadline_s),
    )
    return ActorGroup(
        engines=tuple(engines),
        learners=tuple(learners),
        graders=tuple(graders),
        start_engine=lambda i: started(engine(i)),
        start_grader=lambda i: started(grader(i)),
    )


async def _start_learners(learners: Sequence[Actor], *, deadline_s: float) -> None:
    if not learners:
        return
    address, port = await learners[0].call("rendezvous", deadline_s=deadline_s)
    await asyncio.gather(
        *(rank.call("start", address, port, deadline_s=deadline_s) for rank in learners)
    )


def _actor(
    cls: type,
    name: str,
    logs: Path,
    spec: Sequence[Any],
    *,
    num_gpus: float,
    env: Mapping[str, str],
) -> Actor:
    import ray

    options = {
        "num_cpus": 0,  # threads are divided here: colocated actors share cores
        "num_gpus": num_gpus,
        "runtime_env": {"env_vars": dict(env)},
        "max_restarts": 0,
    }
    handle = ray.remote(cls).options(**options).remote(*spec)
    return Actor(name=name, handle=handle, log_path=str(logs / f"{name}.log"))


def _engine(
    i: int,
    config: GenerationStageConfig,
    cluster: Cluster,
    shares: _Shares,
    model_path: str,
    logs: Path,
) -> Actor:
    name, rollout = f"engine_{i}", config.rollout
    spec = EngineSpec(
        model_path=model_path,
        dtype=config.model.dtype,
        seed=config.seed,
        max_model_tokens=rollout.max_model_tokens,
        max_concurrent=rollout.max_concurrent,
        kv_cache_bytes=int(rollout.kv_cache_gib * (1 << 30)),
        tensor_parallel=rollout.tensor_parallel,
        num_threads=shares.engine_threads,
        policy_version=-1 if config.num_ranks else 0,
        has_stop_strings=bool(rollout.stop),
        has_raw_logprobs=isinstance(rollout, RolloutSection) and rollout.is_truncated,
        trust_remote_code=config.model.trust_remote_code,
        log_path=str(logs.resolve() / f"{name}.log"),
    )
    env = actor_env(num_threads=shares.engine_threads, is_cpu=cluster.is_cpu)
    return _actor(VllmEngine, name, logs, [spec], num_gpus=shares.engine_gpus, env=env)


def _learner(
    rank: int, config: GrpoConfig, cluster: Cluster, shares: _Shares, model_path: str, logs: Path
) -> Actor:
    name = f"learner_{rank}"
    spec = LearnerSpec(
        rank=rank,
        num_ranks=config.learner.num_ranks,
        num_steps=config.total_steps,
        model_path=model_path,
        dtype=config.model.dtype,
        trust_remote_code=config.model.trust_remote_code,
        seed=config.seed,
        temperature=config.rollout.temperature,
        mismatch_limit=config.checks.mismatch_limits(config.model.dtype)[0],
        learner=config.learner,
        loss=config.loss,
        backend="gloo" if cluster.is_cpu else "nccl",
        log_path=str(logs.resolve() / f"{name}.log"),
    )
    env = actor_env(num_threads=shares.learner_threads, is_cpu=cluster.is_cpu)
    return _actor(DeepSpeedLearner, name, logs, [spec], num_gpus=shares.learner_gpus, env=env)


def _grader(
    i: int, config: GenerationStageConfig, rewards: Mapping[str, Mapping[str, Any]], logs: Path
) -> Actor:
    name = f"rewards_{i}"
    env = actor_env(num_threads=1, is_cpu=True)
    log_path = str(logs.resolve() / f"{name}.log")
    spec = [dict(rewards), log_path, config.sandbox.min_tier]
    return _actor(RewardWorker, name, logs, spec, num_gpus=0, env=env)


PROCESS_BYTES = 700 << 20  # resident memory of an actor with torch and vLLM or DeepSpeed, measured


def needed_bytes(config: GenerationStageConfig, *, weights_bytes: int) -> int:
    """Estimate the host memory of a CPU run: learner ranks, reference, engines with their caches,
    and the weights in transfer.

    AdamW keeps two moments and the gradient beside the weights in float32: 4 times the float32
    weights, or 1 + 3 / num_ranks times with ZeRO. A bfloat16 run adds a float32 copy.
    """
    cache = int(config.rollout.kv_cache_gib * (1 << 30))
    engines = config.num_engines * (weights_bytes + cache + PROCESS_BYTES)
    learners = _learner_bytes(config, weights_bytes) if isinstance(config, GrpoConfig) else 0
    return learners + engines + 2 * weights_bytes


def _learner_bytes(config: GrpoConfig, weights_bytes: int) -> int:
    ranks = config.num_ranks
    master = weights_bytes * (1 if config.model.dtype == "float32" else 2)
    states = 3 * master // (config.learner.num_ranks if config.learner.zero_stage else 1)
    reference = weights_bytes if config.loss.beta > 0 else 0
    return ranks * (master + states + reference + PROCESS_BYTES)


def check_memory(config: GenerationStageConfig, *, weights_bytes: int) -> None:
    """Raise ConfigError if the estimate exceeds the free memory of this machine."""
    import psutil

    needed = needed_bytes(config, weights_bytes=weights_bytes)
    free = psutil.virtual_memory().available
    if needed > free:
        raise ConfigError(
            f"memory: this run needs about {needed / 2**30:.1f} GiB of host memory, and "
            f"{free / 2**30:.1f} GiB are free; lower rollout.kv_cache_gib, rollout.num_engines or "
            "learner.num_ranks, or use a smaller model"
        )
