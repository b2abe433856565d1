"""Everything that the user can have got wrong, looked at before anything heavy is imported.

recipe --> model directory there? tasks readable? rewards known, with their columns? template whole?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewards import RewardMix
from rlvr.config import GrpoConfig, TasksSection
from rlvr.errors import ConfigError
from rlvr.model_files import check_context, check_model
from rlvr.prompts import PromptTemplate, make_template
from rlvr.tasks import TaskSource, open_tasks
from rlvr.types import Task
from sandbox import SandboxUnavailable, require

__all__ = ["Inputs", "check_inputs"]

FIRST_TASKS = 1000  # of which the columns are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run starts from, checked."""

    tasks: TaskSource
    eval_tasks: TaskSource | None
    template: PromptTemplate
    mix: RewardMix  # here only to be asked what it needs; the grading is done by actors
    rewards: Mapping[str, Mapping[str, Any]]  # what an actor makes its own mix of


def check_inputs(config: GrpoConfig) -> Inputs:
    """Raises ConfigError with one line on the first thing that is wrong."""
    check_model(config.model.path)
    num_tokens = config.rollout.max_prompt_tokens + config.rollout.max_tokens
    check_context(config.model.path, num_tokens=num_tokens)
    template = make_template(
        config.prompt.template,
        system=config.prompt.system,
        prefill=config.prompt.prefill,
        key="prompt.template",
    )
    rewards = {
        name: {"weight": section.weight, "options": section.options, "only": section.only}
        for name, section in config.rewards.items()
    }
    try:
        mix = RewardMix(rewards)
    except ValueError as error:
        raise ConfigError(f"rewards: {error}") from None
    if mix.uses_sandbox:
        _check_sandbox(config)
    tasks = _open(config.tasks, section="tasks", seed=config.seed)
    num_tasks = tasks.num_tasks
    if num_tasks is not None and num_tasks < config.rollout.tasks_per_step:
        raise ConfigError(
            f"rollout.tasks_per_step: {config.rollout.tasks_per_step} is more than the "
            f"{num_tasks} tasks of "
            f"{tasks.name}; lower it to {num_tasks} or fewer, or add tasks"
        )
    _check_columns(tasks, mix, section="tasks")
    eval_tasks = None
    if config.eval.tasks is not None:
        eval_tasks = _open(config.eval.tasks, section="eval.tasks", seed=config.seed)
        if eval_tasks.num_tasks is None:
            raise ConfigError(
                f"eval.tasks.num_tasks: {eval_tasks.name} has no end; say how many, e.g. 256"
            )
        _check_columns(eval_tasks, mix, section="eval.tasks")
    return Inputs(tasks=tasks, eval_tasks=eval_tasks, template=template, mix=mix, rewards=rewards)


def _check_sandbox(config: GrpoConfig) -> None:
    """Programs run on every node that grades; what holds here is told before anything starts."""
    try:
        require(config.sandbox.min_tier)
    except SandboxUnavailable as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"sandbox.min_tier: {config.sandbox.min_tier}: {text}") from None


def _open(tasks: TasksSection, *, section: str, seed: int) -> TaskSource:
    return open_tasks(
        tasks.source,
        path=tasks.path,
        split=tasks.split,
        columns=tasks.columns,
        num_tasks=tasks.num_tasks,
        seed=seed,
        section=section,
    )


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
