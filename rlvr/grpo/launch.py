"""Putting a run together: the only place that knows all parts.

inputs -> Ray -> actors, tokenizer -> preflight -> loop -> model, summary
"""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.processes import log_to
from rlvr.cluster.ray_cluster import Cluster, connected
from rlvr.cluster.signals import stop_on_signals, unless_stopped
from rlvr.data.encoding import TemplateEncoder
from rlvr.data.inputs import Inputs
from rlvr.data.model_files import end_token_ids, weights_bytes
from rlvr.data.tasks import TaskStream
from rlvr.grpo.actor_group import ActorGroup, cpus_needed
from rlvr.grpo.checks import check_rewards
from rlvr.grpo.generation_session import start_session
from rlvr.grpo.graders import GraderPool
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.loop import GrpoLoop
from rlvr.grpo.memory_check import check_memory
from rlvr.grpo.rollouts import RolloutCollector
from rlvr.grpo.run_logger import RunLog
from rlvr.grpo.run_summary import make_summary
from rlvr.learner.learner_group import LearnerGroup
from rlvr.rollout.engine_pool import EnginePool
from rlvr.run.checkpoints import Checkpoints
from rlvr.run.console import RunConsole
from rlvr.run.manifest import make_manifest
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.run.trackers import Trackers
from rlvr.weight_sync.sync import WeightSync

__all__ = ["run_grpo"]

PROBE_TOKENS = 64


def run_grpo(config: GrpoConfig, folder: RunFolder, inputs: Inputs) -> dict[str, Any]:
    """Train to the end, from the latest checkpoint where there is one; returns the summary.

    The caller holds the folder's lock and has claimed it.

    Raises:
        RLVRError: Stopped, a failed check, a dead actor, or the user's mistake.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    log_to(folder.logs / "driver.log")
    size = weights_bytes(config.model.path)
    with connected(
        logs=folder.logs, num_cpus=cpus_needed(config), weights_bytes=size or None
    ) as cluster:
        if cluster.is_cpu and cluster.is_local:
            check_memory(config, weights_bytes=size)
        console = RunConsole(title=config.name, num_steps=config.num_steps)
        with console:
            asyncio.run(_train(config, folder, inputs, cluster, console))
    return _finish(config, folder)


async def _train(
    config: GrpoConfig, folder: RunFolder, inputs: Inputs, cluster: Cluster, console: RunConsole
) -> None:
    stop = stop_on_signals(console.phase)
    checkpoints = Checkpoints(folder.checkpoints, keep=config.checkpoint.keep)
    machines = f"{cluster.num_gpus} GPUs" if cluster.num_gpus else f"{cluster.num_cpus} CPU cores"
    console.phase(f"starting engines, learner and rewards on {machines}")
    starting = start_session(config, folder, inputs, cluster)
    actors, encoder = await unless_stopped(starting, stop, step=checkpoints.latest_step)
    manifest = make_manifest(
        config,
        inputs=inputs.files,
        cluster=cluster,
        uses_sandbox=inputs.mix.uses_sandbox,
    )
    write_json(folder.manifest, manifest)
    log = RunLog(
        folder,
        console=console,
        trackers=Trackers(config.trackers, folder=folder.path, name=config.name),
        prompt_text=encoder.text,
    )
    try:
        await _run_loop(config, folder, inputs, actors, encoder, checkpoints, log, stop)
    finally:
        log.close()


async def _run_loop(
    config: GrpoConfig,
    folder: RunFolder,
    inputs: Inputs,
    actors: ActorGroup,
    encoder: TemplateEncoder,
    checkpoints: Checkpoints,
    log: RunLog,
    stop: asyncio.Event,
) -> None:
    deadline_s = config.resources.phase_deadline_s
    engines = EnginePool(actors.engines, deadline_s=deadline_s)
    learner = LearnerGroup(actors.learners, deadline_s=deadline_s)
    graders = GraderPool(actors.graders, wants=inputs.mix.wants, deadline_s=deadline_s)
    found = checkpoints.latest()
    log.start_at(found[1].step if found else None)
    if found:
        log.phase(f"going on from {found[0]}")
    else:
        checking = check_rewards(config, inputs.tasks, inputs.mix, graders, encoder)
        log.phase(str(await unless_stopped(checking, stop, step=0)))
    loop = GrpoLoop(
        config=config,
        collector=RolloutCollector(
            engines=engines, graders=graders, encoder=encoder, seed=config.seed
        ),
        learner=learner,
        sync_weights=WeightSync(
            engines=engines,
            learner=learner,
            probe_token_ids=_probe_tokens(encoder, inputs, max_tokens=config.rollout.max_tokens),
            max_probe_error=_max_probe_error(config),
        ),
        tasks=TaskStream(inputs.tasks, seed=config.seed),
        eval_tasks=inputs.all_eval_tasks,
        stop_token_ids=(
            *end_token_ids(config.model.path, encoder.tokenizer),
            *config.rollout.stop_token_ids,
        ),
        checkpoints=checkpoints,
        log=log,
        stop=stop,
    )
    state = await loop.run()
    aside = folder.path / ".model.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    await unless_stopped(learner.export(str(aside.resolve())), stop, step=state.step)
    shutil.rmtree(folder.model, ignore_errors=True)
    aside.rename(folder.model)


def _finish(config: GrpoConfig, folder: RunFolder) -> dict[str, Any]:
    """The summary; its file is what makes the run a finished one."""
    summary = make_summary(folder, num_steps=config.num_steps)
    write_json(folder.summary, summary)
    return summary


def _probe_tokens(
    encoder: TemplateEncoder, inputs: Inputs, *, max_tokens: int
) -> NDArray[np.int32]:
    """The first prompts, end to end, as far as an engine reads."""
    num_tasks = min(8, inputs.tasks.num_tasks or 8)
    prompts = [encoder.encode(inputs.tasks.task(i)) for i in range(num_tasks)]
    longest = encoder.max_prompt_tokens + max_tokens - 1
    return np.concatenate(prompts)[: min(PROBE_TOKENS, longest)]


def _max_probe_error(config: GrpoConfig) -> float:
    given = config.checks.max_probe_error
    default = 1e-3 if config.model.dtype == "float32" else 0.5
    return default if given is None else given
