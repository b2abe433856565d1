"""A generation session: the actors of a run, started for the work of a stage and ended after it.

    inputs --> Ray --> engines, graders, tokenizer (GRPO: learner ranks) --> work --> shutdown
                 ^                                                           a process died |
                 +----------------------------------------------------------------------------+

Every stage that generates (GRPO, evaluation, rejection sampling) starts its actors here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from rlvr.cluster.processes import log_to
from rlvr.cluster.ray_cluster import Cluster, connected, unless_ray_dies
from rlvr.cluster.signals import in_daemon_thread, stop_on_signals, unless_stopped
from rlvr.cluster.stacks import PROCESSES
from rlvr.config import GenerationStageConfig
from rlvr.config.sections import RolloutSection
from rlvr.data.inputs import Inputs, hold_inputs, make_encoder
from rlvr.data.model_files import end_token_ids, weights_bytes
from rlvr.data.prompts import TemplateEncoder
from rlvr.grpo.actor_group import ActorGroup, check_memory, cpus_needed, start_actors
from rlvr.grpo.attempts import resuming
from rlvr.grpo.graders import GraderPool
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.grpo.stack_dump import StackDump, ignore_stack_requests
from rlvr.learner.learner_group import LearnerGroup
from rlvr.rollout.engine_pool import EnginePool, EngineRestarts
from rlvr.run.continuation import write_manifest
from rlvr.run.manifest import make_manifest
from rlvr.run.run_folder import RunFolder

__all__ = ["GenerationSession", "run_session"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSession:
    """Running actors and the tokenizer."""

    actors: ActorGroup  # those behind engines, learner and graders
    engines: EnginePool
    learner: LearnerGroup  # without ranks where nothing is trained
    graders: GraderPool
    encoder: TemplateEncoder
    collector: RolloutCollector
    stop_token_ids: tuple[int, ...]
    stop: asyncio.Event  # set by Ctrl-C and SIGTERM
    num_restarts: int  # sessions before this one, in which a process died

    def restarts(self) -> dict[str, int]:
        """Return how often something was started again, as metrics."""
        return {
            "restarts/run": self.num_restarts,
            "restarts/engines": self.engines.num_restarts,
            "restarts/reward_workers": self.graders.num_restarts,
        }


def run_session(
    config: GenerationStageConfig,
    folder: RunFolder,
    inputs: Inputs,
    work: Callable[[GenerationSession], Awaitable[ResultT]],
    *,
    say: Callable[[str], None] = print,
    note: Callable[[str], None] = print,
    saves_on_stop: bool = False,
    step: Callable[[], int] | None = None,
) -> ResultT:
    """Start the actors, write the manifest, do the work, end everything.

    The caller holds the folder's lock and has claimed it. When the user stops the run, `work` is
    cancelled, and what it has written stays; with `saves_on_stop` it watches
    `GenerationSession.stop` itself and raises Stopped when it has saved its state. When a process
    dies, all others are ended, and `work` is called again with a new session, at most
    resources.max_restarts times.

    say: shows the current phase; note: prints a line that stays. step: of the latest checkpoint;
    None: `work` goes on from the files on disk.

    Raises:
        ConfigError: the cluster or the memory is too small, or the tokenizer cannot be loaded.
        ActorDied: an actor died too often, or did not start.
        Stopped: the user stopped the run.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    log_to(folder.logs / "driver.log")
    ignore_stack_requests()  # until the actors start
    held = hold_inputs(config, inputs, say=say)
    size = weights_bytes(held.model)

    async def run(cluster: Cluster, num_restarts: int) -> ResultT:
        stop = stop_on_signals(say)
        dump = StackDump(folder, note=note)
        say(f"starting {_actors(config)} on {_machines(cluster)}")
        with dump.on_signal():
            starting = _start(
                config, folder, held, cluster, dump, stop, num_restarts=num_restarts, note=note
            )
            session = await unless_stopped(starting, stop, step=step() if step else None)
            manifest = make_manifest(
                config, inputs=inputs.files, cluster=cluster, uses_sandbox=inputs.mix.uses_sandbox
            )
            write_manifest(folder, manifest)
            if saves_on_stop:
                return await work(session)
            return await unless_stopped(work(session), stop, step=None)

    def attempt(num_restarts: int) -> ResultT:
        shutil.rmtree(folder.logs / PROCESSES, ignore_errors=True)  # they have ended
        with connected(
            logs=folder.logs, num_cpus=cpus_needed(config), weights_bytes=size or None
        ) as cluster:
            if cluster.is_cpu and cluster.is_local:
                check_memory(config, weights_bytes=size)
            try:
                return asyncio.run(unless_ray_dies(run(cluster, num_restarts)))
            finally:
                signal.signal(signal.SIGTERM, signal.default_int_handler)  # asyncio resets it

    return resuming(
        attempt,
        max_restarts=config.resources.max_restarts,
        progress=lambda: f"step {step()}" if step else "the files on disk",
        note=note,
    )


def _is_continuous(config: GenerationStageConfig) -> bool:
    """Whether weights change while completions are generated."""
    return isinstance(config.rollout, RolloutSection) and config.rollout.max_staleness > 0


def _actors(config: GenerationStageConfig) -> str:
    counts = (config.num_engines, config.num_ranks, config.num_reward_workers)
    names = zip(("engines", "learner", "rewards"), counts, strict=True)
    *others, last = [name for name, count in names if count]
    return f"{', '.join(others)} and {last}" if others else last


def _machines(cluster: Cluster) -> str:
    return f"{cluster.num_gpus} GPUs" if cluster.num_gpus else f"{cluster.num_cpus} CPU cores"


async def _start(
    config: GenerationStageConfig,
    folder: RunFolder,
    inputs: Inputs,
    cluster: Cluster,
    dump: StackDump,
    stop: asyncio.Event,
    *,
    num_restarts: int,
    note: Callable[[str], None],
) -> GenerationSession:
    """Start the actors, and load the tokenizer meanwhile if no preflight has done it."""
    starting = asyncio.create_task(
        start_actors(
            config,
            cluster,
            model_path=inputs.model,
            logs=folder.logs,
            rewards=inputs.rewards,
            on_late=dump.write,
        )
    )
    encoder = inputs.encoder
    if encoder is None:
        encoder = await in_daemon_thread(lambda: make_encoder(config, inputs))
    actors = await starting
    deadline_s = config.resources.phase_deadline_s
    resources, is_continuous = config.resources, _is_continuous(config)
    engines = EnginePool(
        actors.engines,
        deadline_s=resources.engine_deadline_s,
        max_concurrent=config.rollout.max_concurrent if is_continuous else None,
        # on a CPU, a step that also computes prompts takes twice as long as one that only decodes
        min_free=max(1, config.rollout.max_concurrent // 8) if cluster.is_cpu else 1,
        restarts=EngineRestarts(
            start=actors.start_engine, max_restarts=resources.max_restarts, say=note
        ),
    )
    graders = GraderPool(
        actors.graders,
        start=actors.start_grader,
        wants=inputs.mix.wants,
        columns=inputs.mix.accepted_columns,
        deadline_s=deadline_s,
    )
    dump.sources = (engines, graders)
    return GenerationSession(
        actors=actors,
        engines=engines,
        learner=LearnerGroup(actors.learners, deadline_s=deadline_s),
        graders=graders,
        encoder=encoder,
        collector=RolloutCollector(
            engines=engines,
            graders=graders,
            encoder=encoder,
            seed=config.seed,
            has_mixed_versions=is_continuous,
        ),
        stop_token_ids=(
            *end_token_ids(inputs.model, encoder.tokenizer),
            *config.rollout.stop_token_ids,
        ),
        stop=stop,
        num_restarts=num_restarts,
    )
