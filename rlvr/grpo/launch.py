"""Assemble a GRPO run from a generation session.

session (engines, learner, graders) --> loop --> model, summary

`rollout.only` and `learner.from_rollouts` put stand-ins in the place of learner or engines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.data.inputs import Inputs, hold_inputs
from rlvr.data.model_copy import copy_model
from rlvr.data.prompts import TemplateEncoder
from rlvr.data.tasks import TaskStream
from rlvr.grpo.engines_alone import NoLearner, UnchangedEngines
from rlvr.grpo.generation_session import GenerationSession, run_session
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.learner_alone import StoredBatches, stored_prompt
from rlvr.grpo.loop import GrpoLoop, Log
from rlvr.grpo.run_logger import RunLogger
from rlvr.grpo.run_summary import make_summary
from rlvr.run.checkpoints import Checkpoints
from rlvr.run.console import RunConsole
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.run.trackers import Trackers
from rlvr.weight_sync.sync import SyncReport, WeightSync, no_sync

__all__ = ["make_loop", "run_grpo"]

PROBE_TOKENS = 64


def run_grpo(config: GrpoConfig, folder: RunFolder, inputs: Inputs) -> dict[str, Any]:
    """Train to the last step, from the latest checkpoint if one exists; return the summary.

    The caller holds the folder's lock and has claimed it.

    Raises:
        CheckError: a self-check failed.
        ActorDied: a process died more than resources.max_restarts times.
        Stopped: the user stopped the run; a checkpoint is written.
    """
    config = config.resolved(inputs.tasks.num_tasks)
    is_stored = config.learner.from_rollouts is not None
    inputs = hold_inputs(config, inputs)  # the line that it prints stays above the live display
    checkpoints = Checkpoints(folder.checkpoints, keep=config.checkpoint.keep)
    trackers = Trackers(
        config.trackers,
        folder=folder.path,
        name=config.name,
        config=config.model_dump(mode="json"),
    )
    with RunConsole(title=config.name, num_steps=config.total_steps) as console:

        async def train(session: GenerationSession) -> None:
            log = RunLogger(
                folder,
                console=console,
                trackers=trackers,
                prompt_text=stored_prompt if is_stored else session.encoder.text,
                with_tokens=config.rollout.store == "tokens",
                restarts=session.restarts,
            )
            try:
                await _train(config, folder, inputs, session, checkpoints, log)
            finally:
                log.close()

        run_session(
            config,
            folder,
            inputs,
            train,
            say=console.phase,
            note=console.print_line,
            saves_on_stop=True,
            step=lambda: checkpoints.latest_step,
        )
    summary = make_summary(folder, num_steps=config.total_steps)
    write_json(folder.summary, summary)  # this file marks the run as finished
    return summary


async def _train(
    config: GrpoConfig,
    folder: RunFolder,
    inputs: Inputs,
    session: GenerationSession,
    checkpoints: Checkpoints,
    log: RunLogger,
) -> None:
    found = checkpoints.latest()
    log.start_at(found[1].step if found else None)
    if found:
        log.phase(f"resuming from {found[0]}")
    loop = make_loop(config, inputs, session, checkpoints=checkpoints, log=log)
    await loop.run()
    found = checkpoints.latest()
    assert found is not None, "the loop ends with a checkpoint"
    if not config.rollout.only:
        copy_model(found[0] / "model", folder.model)


def make_loop(
    config: GrpoConfig,
    inputs: Inputs,
    session: GenerationSession,
    *,
    checkpoints: Checkpoints,
    log: Log,
) -> GrpoLoop:
    """Return the loop over the actors of a session."""
    is_only, stored = config.rollout.only, config.learner.from_rollouts
    collector = session.collector
    if is_only:
        collector = replace(collector, engines=UnchangedEngines(session.engines))
    return GrpoLoop(
        config=config,
        collector=collector,
        learner=NoLearner() if is_only else session.learner,
        sync_weights=no_sync if is_only or stored else _weight_sync(config, inputs, session),
        batches=StoredBatches(Path(stored), rollout=config.rollout) if stored else None,
        engines=None if stored else session.engines,
        tasks=TaskStream(inputs.tasks, seed=config.seed),
        eval_tasks=inputs.all_eval_tasks,
        stop_token_ids=session.stop_token_ids,
        checkpoints=checkpoints,
        log=log,
        stop=session.stop,
    )


def _weight_sync(
    config: GrpoConfig, inputs: Inputs, session: GenerationSession
) -> Callable[[int], Awaitable[SyncReport]]:
    """Return the sync, which also gives restarted engines their weights."""
    max_tokens = config.rollout.max_tokens
    sync = WeightSync(
        engines=session.engines,
        learner=session.learner,
        probe_token_ids=_probe_tokens(session.encoder, inputs, max_tokens=max_tokens),
        max_probe_error=_max_probe_error(config),
        is_restart=config.rollout.interrupt == "restart",
    )
    session.engines.prepare = partial(sync.restore, deadline_s=config.resources.phase_deadline_s)
    return sync


def _probe_tokens(
    encoder: TemplateEncoder, inputs: Inputs, *, max_tokens: int
) -> NDArray[np.int32]:
    """Concatenate the first prompts, up to the longest text that an engine accepts."""
    num_tasks = min(8, inputs.tasks.num_tasks or 8)
    prompts = [encoder.encode(inputs.tasks.task(i)) for i in range(num_tasks)]
    longest = encoder.max_prompt_tokens + max_tokens - 1
    return np.concatenate(prompts)[: min(PROBE_TOKENS, longest)]


def _max_probe_error(config: GrpoConfig) -> float | None:
    default = 1e-3 if config.model.dtype == "float32" else None
    return config.checks.max_probe_error or default
