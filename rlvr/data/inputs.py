"""Everything that the user can have got wrong, looked at before anything heavy is imported.

recipe --> model directory there? tasks readable? rewards known, with their columns? template whole?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewards import RewardMix
from rlvr.config import GenerationStageConfig
from rlvr.config.sections import RewardSection, TasksSection
from rlvr.data.model_files import check_context, check_model
from rlvr.data.prompts import PromptTemplate, make_template
from rlvr.data.tasks import TaskSource, open_tasks
from rlvr.errors import ConfigError
from rlvr.types import Task
from sandbox import SandboxUnavailable, require

__all__ = [
    "Inputs",
    "check_columns",
    "check_generation",
    "check_is_finite",
    "open_section",
    "tasks_files",
]

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


def check_generation(
    config: GenerationStageConfig,
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
    check_columns(source, mix, section=section)
    return Inputs(
        tasks=source,
        eval_tasks=None,
        template=template,
        mix=mix,
        rewards=specs,
        files={"model.path": config.model.path, **tasks_files(tasks, section=section)},
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


def tasks_files(tasks: TasksSection, *, section: str) -> dict[str, str]:
    return {f"{section}.path": tasks.path} if tasks.path else {}


def _check_sandbox(config: GenerationStageConfig) -> None:
    """Programs run on every node that grades; what holds here is told before anything starts."""
    try:
        require(config.sandbox.min_tier)
    except SandboxUnavailable as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"sandbox.min_tier: {config.sandbox.min_tier}: {text}") from None


def check_columns(source: TaskSource, mix: RewardMix, *, section: str) -> None:
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
