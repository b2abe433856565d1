"""Take a stored step again.

    learner ranks --> checkpoint of the step before --> stored batch --> report --> comparison

No engine, reward worker or tokenizer is started: a run folder is enough, also on another machine.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict

from rlvr.cluster.processes import log_to
from rlvr.cluster.ray_cluster import Cluster, connected
from rlvr.cluster.signals import stop_on_signals, unless_stopped
from rlvr.data.model_files import weights_bytes
from rlvr.errors import CheckError
from rlvr.grpo.actor_group import check_memory, cpus_needed, start_actors
from rlvr.grpo.batching import step_batch
from rlvr.grpo.learner_alone import max_tokens_of
from rlvr.learner.learner_group import LearnerGroup
from rlvr.run.rollout_store import read_groups
from rlvr.run.run_folder import RunFolder, write_json, write_text
from rlvr.stages.replay.replay_config import ReplayConfig
from rlvr.stages.replay.step_comparison import compare_step, is_reproduced, table_text, verdict
from rlvr.stages.replay.stored_step import StoredStep
from rlvr.types import Batch, StepReport

__all__ = ["run_replay"]


def run_replay(config: ReplayConfig, folder: RunFolder, stored: StoredStep) -> None:
    """Write replay.txt and summary.json to the folder. Raises CheckError: the numbers differ."""
    step = config.replay.step
    config = config.model_copy(update={"num_steps": config.num_steps or step})  # for the lr only
    groups = read_groups(stored.batch)
    batch = step_batch(
        groups,
        loss=config.loss,
        learner=config.learner,
        max_tokens=max_tokens_of(step - 1, rollout=config.rollout),
    )
    report = _train(config, folder, stored, batch)
    numbers = compare_step(stored.metrics, report, groups, dtype=config.model.dtype)
    heading = f"step {step} of {config.replayed_run}, from {stored.checkpoint or stored.model}"
    found = f"step {step} of {config.replayed_run} is {verdict(numbers)}"
    text = f"{heading}\n\n{table_text(numbers)}\n"
    write_text(folder.path / "replay.txt", f"{text}\n{found}\n")
    if not is_reproduced(numbers):
        print(text)
        raise CheckError(found)
    write_json(folder.summary, {"step": step, "numbers": [asdict(one) for one in numbers]})


def _train(config: ReplayConfig, folder: RunFolder, stored: StoredStep, batch: Batch) -> StepReport:
    """Start the learner for one step."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    log_to(folder.logs / "driver.log")
    size = weights_bytes(stored.model)

    async def train(cluster: Cluster) -> StepReport:
        stop = stop_on_signals(print)
        taking = _take_step(config, cluster, folder, stored, batch)
        return await unless_stopped(taking, stop, step=None)

    with connected(
        logs=folder.logs, num_cpus=cpus_needed(config), weights_bytes=size or None
    ) as cluster:
        if cluster.is_cpu and cluster.is_local:
            check_memory(config, weights_bytes=size)
        return asyncio.run(train(cluster))


async def _take_step(
    config: ReplayConfig, cluster: Cluster, folder: RunFolder, stored: StoredStep, batch: Batch
) -> StepReport:
    print("starting the learner")
    actors = await start_actors(
        config, cluster, model_path=stored.model, logs=folder.logs, rewards={}
    )
    learner = LearnerGroup(actors.learners, deadline_s=config.resources.phase_deadline_s)
    if stored.checkpoint is not None:
        await learner.load_checkpoint(str(stored.checkpoint.resolve()))
    return await learner.step(batch, step=config.replay.step - 1)
