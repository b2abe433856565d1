"""`rlvr grpo`: train by GRPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rlvr.config.sections import TasksSection
from rlvr.data.inputs import (
    Inputs,
    check_columns,
    check_generation,
    check_is_finite,
    open_section,
    tasks_files,
)
from rlvr.data.tasks import Mixture, MixtureSource, TaskSource
from rlvr.errors import ConfigError
from rlvr.grpo.grpo_config import EVAL_TASKS, GrpoConfig
from rlvr.grpo.learner_alone import check_stored_batches
from rlvr.grpo.run_summary import closing_text
from rlvr.run.checkpoints import complete_checkpoints
from rlvr.run.continuation import Trained
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.run.trackers import check_trackers

__all__ = ["STAGE", "check_inputs", "preflight"]


def check_inputs(config: GrpoConfig) -> Inputs:
    """Check the inputs of a GRPO run. Raises ConfigError for the first that is wrong."""
    inputs = check_generation(config, config.tasks, config.rewards)
    sources, files = dict(inputs.sources), dict(inputs.files)
    for key, section in _task_sections(config).items():
        if key in sources:
            continue
        sources[key] = open_section(section, section=key, seed=config.seed)
        if key == EVAL_TASKS:
            check_is_finite(sources[key], section=key)
        check_columns(sources[key], inputs.mix, section=key)
        files |= tasks_files(section, section=key)
    inputs = _with_sources(config, replace(inputs, sources=sources, files=files))
    if run := config.learner.from_rollouts:
        check_stored_batches(config.resolved(inputs.tasks.num_tasks), run=Path(run))
    return inputs


def preflight(config: GrpoConfig, folder: RunFolder, inputs: Inputs) -> Inputs:
    """Return the inputs with the encoder and the tasks whose prompts fit. Raises ConfigError."""
    from rlvr.grpo.preflight import run_preflight

    return _with_sources(config, run_preflight(config, folder, inputs, _task_sections(config)))


def _preflight(config: GrpoConfig, folder: RunFolder, inputs: Inputs) -> Inputs:
    check_trackers(config.trackers)
    if config.learner.from_rollouts:
        return inputs  # no prompt is rendered, and nothing is graded
    return preflight(config, folder, inputs)


def _task_sections(config: GrpoConfig) -> dict[str, TasksSection]:
    more = {f"more_tasks.{i}": section for i, section in enumerate(config.more_tasks)}
    held_out = {EVAL_TASKS: config.eval.tasks} if config.eval.tasks else {}
    return {"tasks": config.tasks, **more, **held_out}


def _with_sources(config: GrpoConfig, inputs: Inputs) -> Inputs:
    """Return the inputs with the tasks of `sources`; training tasks are mixed into one source."""
    tasks = _mixed(config, inputs.sources)
    num_tasks = tasks.num_tasks
    config = config.resolved(num_tasks)
    if num_tasks is not None and num_tasks < config.tasks_per_batch:
        raise ConfigError(_too_few_tasks(config, num_tasks, tasks.name))
    return replace(inputs, tasks=tasks, eval_tasks=inputs.sources.get(EVAL_TASKS))


def _too_few_tasks(config: GrpoConfig, num_tasks: int, name: str) -> str:
    tasks_per_step = config.rollout.tasks_per_step
    num_steps = config.tasks_per_batch // tasks_per_step
    times = f" x num_minibatches: {num_steps}" if num_steps > 1 else ""
    return (
        f"rollout.tasks_per_step: {tasks_per_step}{times} is more than the {num_tasks} tasks of "
        f"{name}; lower it to {max(num_tasks // num_steps, 1)} or fewer, or add tasks"
    )


def _mixed(config: GrpoConfig, sources: Mapping[str, TaskSource]) -> TaskSource:
    if not config.more_tasks:
        return sources["tasks"]
    sections = [config.tasks, *config.more_tasks]
    keys = ["tasks", *(f"more_tasks.{i}" for i in range(len(config.more_tasks)))]
    tasks_per_step = config.rollout.tasks_per_step
    parts = [
        MixtureSource(
            source=sources[key], weight=one.weight, from_index=one.from_step * tasks_per_step
        )
        for key, one in zip(keys, sections, strict=True)
    ]
    try:
        return Mixture(parts, seed=config.seed)
    except ValueError as error:
        raise ConfigError(f"tasks.from_step: {error}") from None


def _run(config: GrpoConfig, folder: RunFolder, inputs: Inputs) -> None:
    from rlvr.grpo.launch import run_grpo

    run_grpo(config, folder, inputs)


def _closing(config: GrpoConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    return closing_text(folder, summary, has_model=not config.rollout.only)


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
    preflight=_preflight,
    run=_run,
    closing=_closing,
    work=("checkpoints/step_*/state.json", "rollouts/step_*.parquet"),
    trained=_trained,
)
