"""`rlvr grpo`: train by GRPO."""

from __future__ import annotations

from dataclasses import replace

from rlvr.data.inputs import (
    Inputs,
    check_columns,
    check_generation,
    check_is_finite,
    open_section,
    tasks_files,
)
from rlvr.data.tasks import Mixture, MixtureSource
from rlvr.errors import ConfigError
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.run_summary import closing_text
from rlvr.run.checkpoints import complete_checkpoints
from rlvr.run.continuation import Trained
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage

__all__ = ["STAGE", "check_inputs"]


def check_inputs(config: GrpoConfig) -> Inputs:
    """Check the inputs of a GRPO run. Raises ConfigError for the first that is wrong."""
    inputs = _with_more_tasks(config, check_generation(config, config.tasks, config.rewards))
    num_tasks = inputs.tasks.num_tasks
    config = config.resolved(num_tasks)
    if num_tasks is not None and num_tasks < config.tasks_per_batch:
        raise ConfigError(_too_few_tasks(config, num_tasks, inputs.tasks.name))
    if config.eval.tasks is None:
        return inputs
    eval_tasks = open_section(config.eval.tasks, section="eval.tasks", seed=config.seed)
    check_is_finite(eval_tasks, section="eval.tasks")
    check_columns(eval_tasks, inputs.mix, section="eval.tasks")
    files = {**inputs.files, **tasks_files(config.eval.tasks, section="eval.tasks")}
    return replace(inputs, eval_tasks=eval_tasks, files=files)


def _too_few_tasks(config: GrpoConfig, num_tasks: int, name: str) -> str:
    tasks_per_step = config.rollout.tasks_per_step
    num_steps = config.tasks_per_batch // tasks_per_step
    times = f" x num_minibatches: {num_steps}" if num_steps > 1 else ""
    return (
        f"rollout.tasks_per_step: {tasks_per_step}{times} is more than the {num_tasks} tasks of "
        f"{name}; lower it to {max(num_tasks // num_steps, 1)} or fewer, or add tasks"
    )


def _with_more_tasks(config: GrpoConfig, inputs: Inputs) -> Inputs:
    """Mix the task sources of a recipe into one."""
    if not config.more_tasks:
        return inputs
    sections = [config.tasks, *config.more_tasks]
    sources, files = [inputs.tasks], dict(inputs.files)
    for i, more in enumerate(config.more_tasks):
        key = f"more_tasks.{i}"
        sources.append(open_section(more, section=key, seed=config.seed))
        check_columns(sources[-1], inputs.mix, section=key)
        files |= tasks_files(more, section=key)
    tasks_per_step = config.rollout.tasks_per_step
    parts = [
        MixtureSource(source=source, weight=one.weight, from_index=one.from_step * tasks_per_step)
        for source, one in zip(sources, sections, strict=True)
    ]
    try:
        return replace(inputs, tasks=Mixture(parts, seed=config.seed), files=files)
    except ValueError as error:
        raise ConfigError(f"tasks.from_step: {error}") from None


def _run(config: GrpoConfig, folder: RunFolder, inputs: Inputs) -> None:
    from rlvr.grpo.launch import run_grpo

    run_grpo(config, folder, inputs)


def _closing(config: GrpoConfig, folder: RunFolder) -> str:
    return closing_text(folder, read_json(folder.summary))


def _trained(config: GrpoConfig, inputs: Inputs, folder: RunFolder) -> Trained:
    return Trained(
        step=max(complete_checkpoints(folder.checkpoints), default=0),
        total=config.resolved(inputs.tasks.num_tasks).total_steps,
        key="num_steps" if config.num_epochs is None else "num_epochs",
        start_key="from",
    )


STAGE = Stage(
    schema=GrpoConfig,
    check=check_inputs,
    run=_run,
    closing=_closing,
    work=("checkpoints/step_*/state.json", "rollouts/step_*.parquet"),
    trained=_trained,
)
