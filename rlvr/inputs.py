"""Everything that the user can have got wrong, looked at before anything heavy is imported.

recipe --> model directory there? tasks readable? rewards known, with their columns? template whole?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rewards import RewardMix
from rlvr.config import GrpoConfig, RewardSection, TasksSection, WriterConfig
from rlvr.errors import ConfigError
from rlvr.model_files import check_context, check_model
from rlvr.prompts import PromptTemplate, make_template
from rlvr.tasks import TaskSource, open_tasks
from rlvr.tasks.mixture import Mixture, Part
from rlvr.types import Task
from sandbox import SandboxUnavailable, require

__all__ = ["Inputs", "check_inputs", "check_is_finite", "check_writer", "open_section"]

FIRST_TASKS = 1000  # of which the columns are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run starts from, checked."""

    tasks: TaskSource
    eval_tasks: TaskSource | None
    template: PromptTemplate
    mix: RewardMix  # here only to be asked what it needs; the grading is done by actors
    rewards: Mapping[str, Mapping[str, Any]]  # what an actor makes its own mix of
    files: Mapping[str, str]  # recipe key -> file or model folder that is read

    @property
    def all_eval_tasks(self) -> tuple[Task, ...]:
        """The held-out tasks; none without an evaluation."""
        source = self.eval_tasks
        return tuple(source.task(i) for i in range(source.num_tasks or 0)) if source else ()


def check_inputs(config: GrpoConfig) -> Inputs:
    """Of a GRPO run. Raises ConfigError with one line on the first thing that is wrong."""
    inputs = _with_more_tasks(config, check_writer(config, config.tasks, config.rewards))
    num_tasks = inputs.tasks.num_tasks
    if num_tasks is not None and num_tasks < config.tasks_per_harvest:
        raise ConfigError(_too_few_tasks(config, num_tasks, inputs.tasks.name))
    if config.eval.tasks is None:
        return inputs
    eval_tasks = open_section(config.eval.tasks, section="eval.tasks", seed=config.seed)
    check_is_finite(eval_tasks, section="eval.tasks")
    _check_columns(eval_tasks, inputs.mix, section="eval.tasks")
    files = {**inputs.files, **_files(config.eval.tasks, section="eval.tasks")}
    return replace(inputs, eval_tasks=eval_tasks, files=files)


def _too_few_tasks(config: GrpoConfig, num_tasks: int, name: str) -> str:
    tasks_per_step = config.rollout.tasks_per_step
    num_steps = config.tasks_per_harvest // tasks_per_step
    times = f" x num_minibatches: {num_steps}" if num_steps > 1 else ""
    return (
        f"rollout.tasks_per_step: {tasks_per_step}{times} is more than the {num_tasks} tasks of "
        f"{name}; lower it to {max(num_tasks // num_steps, 1)} or fewer, or add tasks"
    )


def _with_more_tasks(config: GrpoConfig, inputs: Inputs) -> Inputs:
    """All sources as one, where there are several."""
    if not config.more_tasks:
        return inputs
    sections = [config.tasks, *config.more_tasks]
    sources, files = [inputs.tasks], dict(inputs.files)
    for i, more in enumerate(config.more_tasks):
        key = f"more_tasks.{i}"
        sources.append(open_section(more, section=key, seed=config.seed))
        _check_columns(sources[-1], inputs.mix, section=key)
        files |= _files(more, section=key)
    tasks_per_step = config.rollout.tasks_per_step
    parts = [
        Part(source=source, weight=one.weight, from_index=one.from_step * tasks_per_step)
        for source, one in zip(sources, sections, strict=True)
    ]
    try:
        return replace(inputs, tasks=Mixture(parts, seed=config.seed), files=files)
    except ValueError as error:
        raise ConfigError(f"tasks.from_step: {error}") from None


def check_writer(
    config: WriterConfig,
    tasks: TasksSection,
    rewards: Mapping[str, RewardSection],
    *,
    section: str = "tasks",
) -> Inputs:
    """Of a stage that writes completions of `tasks` and grades them. Raises ConfigError."""
    check_model(config.model.path)
    check_context(config.model.path, num_tokens=config.rollout.max_model_tokens)
    template = make_template(
        config.prompt.template,
        system=config.prompt.system,
        prefill=config.prompt.prefill,
        key="prompt.template",
    )
    specs = {
        name: {"weight": reward.weight, "options": reward.options, "only": reward.only}
        for name, reward in rewards.items()
    }
    try:
        mix = RewardMix(specs)
    except ValueError as error:
        raise ConfigError(f"rewards: {error}") from None
    if mix.uses_sandbox:
        _check_sandbox(config)
    source = open_section(tasks, section=section, seed=config.seed)
    _check_columns(source, mix, section=section)
    return Inputs(
        tasks=source,
        eval_tasks=None,
        template=template,
        mix=mix,
        rewards=specs,
        files={"model.path": config.model.path, **_files(tasks, section=section)},
    )


def check_is_finite(tasks: TaskSource, *, section: str) -> None:
    """Raises ConfigError for a source without an end."""
    if tasks.num_tasks is None:
        raise ConfigError(f"{section}.num_tasks: {tasks.name} has no end; say how many, e.g. 256")


def open_section(tasks: TasksSection, *, section: str, seed: int) -> TaskSource:
    """The tasks that a section names. Raises ConfigError."""
    return open_tasks(
        tasks.source,
        path=tasks.path,
        split=tasks.split,
        columns=tasks.columns,
        num_tasks=tasks.num_tasks,
        seed=seed,
        section=section,
    )


def _files(tasks: TasksSection, *, section: str) -> dict[str, str]:
    return {f"{section}.path": tasks.path} if tasks.path else {}


def _check_sandbox(config: WriterConfig) -> None:
    """Programs run on every node that grades; what holds here is told before anything starts."""
    try:
        require(config.sandbox.min_tier)
    except SandboxUnavailable as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"sandbox.min_tier: {config.sandbox.min_tier}: {text}") from None


def _check_columns(source: TaskSource, mix: RewardMix, *, section: str) -> None:
    """Each task must bring the columns that the rewards ask for."""
    count = FIRST_TASKS if source.num_tasks is None else min(FIRST_TASKS, source.num_tasks)
    for i in range(count):
        task = source.task(i)
        missing = [name for name in _needed(mix, task, section) if name not in task.columns]
        if missing:
            there = ", ".join(sorted(task.columns)) or "none"
            raise ConfigError(
                f"{section}: task {task.id} lacks the column {missing[0]!r} that the rewards "
                f"need; it has {there}; "
                f"map one with {section}.columns.{missing[0]}=COLUMN or leave that reward out"
            )


def _needed(mix: RewardMix, task: Task, section: str) -> tuple[str, ...]:
    try:
        return mix.columns_for(task.columns)
    except ValueError as error:
        raise ConfigError(f"{section}: task {task.id}: {error}") from None
