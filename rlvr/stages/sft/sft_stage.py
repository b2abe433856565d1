"""`rlvr sft`: supervised fine-tuning, or the training of a reward model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rlvr.run.checkpoints import complete_checkpoints
from rlvr.run.continuation import Trained, write_manifest
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.run.trackers import check_trackers
from rlvr.stages.sft.examples import check_sources
from rlvr.stages.sft.ranks import has_gpu, run_ranks
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import SftPlan, hold_weights, make_plan

__all__ = ["STAGE"]

STATE = "trainer_state.json"  # of transformers, in a checkpoint


def _check(config: SftConfig) -> SftPlan:
    plan = make_plan(config, is_cpu=not has_gpu())
    check_sources(plan)
    check_trackers(config.trackers)
    return plan


def _run(config: SftConfig, folder: RunFolder, plan: SftPlan) -> None:
    from rlvr.run.manifest import make_manifest

    write_manifest(folder, make_manifest(config, inputs=plan.inputs))
    run_ranks(hold_weights(plan, folder), folder)


def _closing(config: SftConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    result = folder.path / "adapter" if config.lora else folder.model
    return f"{result}: {summary['num_rows']} rows, mean loss {summary['train_loss']:.3f}"


def _trained(config: SftConfig, plan: SftPlan, folder: RunFolder) -> Trained:
    checkpoints = complete_checkpoints(folder.checkpoints)
    step = max(checkpoints, default=0)
    return Trained(
        step=step,
        total=_total_steps(config, read_json(checkpoints[step] / STATE) if step else None),
        key="num_epochs" if config.max_steps is None else "max_steps",
        start_key="resume_from",
    )


def _total_steps(config: SftConfig, state: Mapping[str, Any] | None) -> int:
    """Return the steps of the whole run, of which `state` is that of the trainer at a checkpoint.

    Without a checkpoint the steps of an epoch are unknown, and it is at least one.
    """
    if config.max_steps is not None:
        return config.max_steps
    steps_per_epoch = state["global_step"] / state["epoch"] if state else 1
    return math.ceil(round((config.num_epochs or 1) * steps_per_epoch, 3))


STAGE = Stage(
    schema=SftConfig,
    check=_check,
    run=_run,
    closing=_closing,
    work=("metrics.jsonl", f"checkpoints/checkpoint-*/{STATE}"),
    trained=_trained,
)
