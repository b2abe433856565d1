"""A stage that writes without learning: engines with a model's own weights, graders, its prompts.

inputs -> Ray -> engines, graders, tokenizer -> the stage's own work -> everything ended
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rlvr.cluster import Cluster, connected
from rlvr.config import WriterConfig
from rlvr.crew import cpus_needed
from rlvr.encoding import TemplateEncoder
from rlvr.harvest import Harvester
from rlvr.inputs import Inputs
from rlvr.manifest import make_manifest
from rlvr.memory import check_memory
from rlvr.model_files import end_token_ids, weights_bytes
from rlvr.processes import log_to
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.requests import Finished, Request, SamplingSpec
from rlvr.run_folder import RunFolder, write_json
from rlvr.scoring import GraderPool
from rlvr.starting import start_run
from rlvr.stopping import stop_on_signals, unless_stopped

__all__ = ["POLICY_VERSION", "Writers", "run_writers"]

POLICY_VERSION = 0  # of weights that never change

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writers:
    """What a stage works with while its engines stand."""

    engines: EnginePool
    graders: GraderPool
    encoder: TemplateEncoder
    harvester: Harvester
    stop_token_ids: tuple[int, ...]
    stop: asyncio.Event  # set by Ctrl-C and SIGTERM

    def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec
    ) -> AsyncIterator[list[Finished]]:
        """Chunks of completions as they end."""
        return self.engines.generate(requests, sampling, policy_version=POLICY_VERSION)


def run_writers(
    config: WriterConfig,
    folder: RunFolder,
    inputs: Inputs,
    work: Callable[[Writers], Awaitable[ResultT]],
    *,
    say: Callable[[str], None] = print,
) -> ResultT:
    """Start what `work` needs, write the manifest, do the work, end everything.

    The caller holds the folder's lock and has claimed it. The work itself races against
    `Writers.stop`: it is cancelled there, and what it has put on the disk stays.

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
    config: WriterConfig,
    folder: RunFolder,
    inputs: Inputs,
    cluster: Cluster,
    work: Callable[[Writers], Awaitable[ResultT]],
    say: Callable[[str], None],
) -> ResultT:
    stop = stop_on_signals(say)
    writers = await unless_stopped(_start(config, folder, inputs, cluster, stop), stop, step=None)
    manifest = make_manifest(
        config, inputs=inputs.files, cluster=cluster, uses_sandbox=inputs.mix.uses_sandbox
    )
    write_json(folder.manifest, manifest)
    return await unless_stopped(work(writers), stop, step=None)


async def _start(
    config: WriterConfig,
    folder: RunFolder,
    inputs: Inputs,
    cluster: Cluster,
    stop: asyncio.Event,
) -> Writers:
    crew, encoder = await start_run(config, folder, inputs, cluster)
    deadline_s = config.resources.phase_deadline_s
    engines = EnginePool(crew.engines, deadline_s=deadline_s)
    graders = GraderPool(crew.graders, wants=inputs.mix.wants, deadline_s=deadline_s)
    return Writers(
        engines=engines,
        graders=graders,
        encoder=encoder,
        harvester=Harvester(engines=engines, graders=graders, encoder=encoder, seed=config.seed),
        stop_token_ids=(
            *end_token_ids(config.model.path, encoder.tokenizer),
            *config.rollout.stop_token_ids,
        ),
        stop=stop,
    )
