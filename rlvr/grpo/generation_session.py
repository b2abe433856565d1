"""A stage that writes without learning: engines with a model's own weights, graders, its prompts.

inputs -> Ray -> engines, graders, tokenizer -> the stage's own work -> everything ended
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rlvr.cluster.processes import log_to
from rlvr.cluster.ray_cluster import Cluster, connected
from rlvr.cluster.signals import in_daemon_thread, stop_on_signals, unless_stopped
from rlvr.config import GenerationStageConfig
from rlvr.data.encoding import TemplateEncoder, make_encoder
from rlvr.data.inputs import Inputs
from rlvr.data.model_files import end_token_ids, resolve_model, weights_bytes
from rlvr.grpo.actor_group import ActorGroup, cpus_needed, start_actors
from rlvr.grpo.graders import GraderPool
from rlvr.grpo.memory_check import check_memory
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.rollout.engine_pool import EnginePool
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec
from rlvr.run.manifest import make_manifest
from rlvr.run.run_folder import RunFolder, write_json

__all__ = ["POLICY_VERSION", "GenerationSession", "run_session", "start_session"]

POLICY_VERSION = 0  # of weights that never change

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSession:
    """What a stage works with while its engines stand."""

    engines: EnginePool
    graders: GraderPool
    encoder: TemplateEncoder
    collector: RolloutCollector
    stop_token_ids: tuple[int, ...]
    stop: asyncio.Event  # set by Ctrl-C and SIGTERM

    def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec
    ) -> AsyncIterator[list[Finished]]:
        """Chunks of completions as they end."""
        return self.engines.generate(requests, sampling, policy_version=POLICY_VERSION)


def run_session(
    config: GenerationStageConfig,
    folder: RunFolder,
    inputs: Inputs,
    work: Callable[[GenerationSession], Awaitable[ResultT]],
    *,
    say: Callable[[str], None] = print,
) -> ResultT:
    """Start what `work` needs, write the manifest, do the work, end everything.

    The caller holds the folder's lock and has claimed it. The work itself races against
    `GenerationSession.stop`: it is cancelled there, and what it has put on the disk stays.

    Raises:
        RLVRError: Stopped, a dead actor, or the user's mistake.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    log_to(folder.logs / "driver.log")
    size = weights_bytes(config.model.path)
    with connected(
        logs=folder.logs, num_cpus=cpus_needed(config), weights_bytes=size or None
    ) as cluster:
        if cluster.is_cpu and cluster.is_local:
            check_memory(config, weights_bytes=size)
        return asyncio.run(_run(config, folder, inputs, cluster, work, say))


async def _run(
    config: GenerationStageConfig,
    folder: RunFolder,
    inputs: Inputs,
    cluster: Cluster,
    work: Callable[[GenerationSession], Awaitable[ResultT]],
    say: Callable[[str], None],
) -> ResultT:
    stop = stop_on_signals(say)
    session = await unless_stopped(_start(config, folder, inputs, cluster, stop), stop, step=None)
    manifest = make_manifest(
        config, inputs=inputs.files, cluster=cluster, uses_sandbox=inputs.mix.uses_sandbox
    )
    write_json(folder.manifest, manifest)
    return await unless_stopped(work(session), stop, step=None)


async def _start(
    config: GenerationStageConfig,
    folder: RunFolder,
    inputs: Inputs,
    cluster: Cluster,
    stop: asyncio.Event,
) -> GenerationSession:
    actors, encoder = await start_session(config, folder, inputs, cluster)
    deadline_s = config.resources.phase_deadline_s
    engines = EnginePool(actors.engines, deadline_s=deadline_s)
    graders = GraderPool(actors.graders, wants=inputs.mix.wants, deadline_s=deadline_s)
    return GenerationSession(
        engines=engines,
        graders=graders,
        encoder=encoder,
        collector=RolloutCollector(
            engines=engines, graders=graders, encoder=encoder, seed=config.seed
        ),
        stop_token_ids=(
            *end_token_ids(config.model.path, encoder.tokenizer),
            *config.rollout.stop_token_ids,
        ),
        stop=stop,
    )


async def start_session(
    config: GenerationStageConfig, folder: RunFolder, inputs: Inputs, cluster: Cluster
) -> tuple[ActorGroup, TemplateEncoder]:
    """Returns when all of it stands; of two errors the tokenizer's, which names a key.

    Raises:
        ConfigError: a tokenizer that is not there, a prompt that is too long.
        ActorDied: an actor that does not come up.
    """
    starting = asyncio.create_task(
        start_actors(
            config,
            cluster,
            model_path=resolve_model(config.model.path),
            logs=folder.logs,
            rewards=inputs.rewards,
        )
    )
    encoder = await in_daemon_thread(lambda: make_encoder(config, inputs))
    return await starting, encoder
