"""Check the user's inputs before anything heavy is imported: model, tasks, rewards, template.

`make_encoder`, which loads the tokenizer, is the exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewards import RewardMix
from rlvr.config import GenerationStageConfig
from rlvr.config.sections import RewardSection, SandboxSection, TasksSection
from rlvr.data.model_files import check_context, check_model
from rlvr.data.prompts import PromptTemplate, TemplateEncoder, make_template
from rlvr.data.tasks import TaskSource, open_tasks
from rlvr.errors import ConfigError, one_line
from rlvr.types import Task
from sandbox import SandboxUnavailable, require

__all__ = [
    "Inputs",
    "check_columns",
    "check_generation",
    "check_is_finite",
    "check_sandbox",
    "make_encoder",
    "open_section",
    "tasks_files",
]

NUM_CHECKED_TASKS = 1000  # whose columns are checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The checked inputs of a run."""

    tasks: TaskSource
    eval_tasks: TaskSource | None
    template: PromptTemplate
    mix: RewardMix  # for its requirements only; the reward actors grade with mixes of their own
    rewards: Mapping[str, Mapping[str, Any]]  # arguments of a RewardMix
    files: Mapping[str, str]  # recipe key -> file or model folder that is read

    @property
    def all_eval_tasks(self) -> tuple[Task, ...]:
        """The held-out tasks; empty without an evaluation."""
        source = self.eval_tasks
        return tuple(map(source.task, range(source.num_tasks or 0))) if source else ()


def check_generation(
    config: GenerationStageConfig,
    tasks: TasksSection,
    rewards: Mapping[str, RewardSection],
    *,
    section: str = "tasks",
) -> Inputs:
    """Check the inputs of a stage that generates and grades completions. Raises ConfigError."""
    check_model(config.model.path)
    check_context(config.model.path, num_tokens=config.rollout.max_model_tokens)
    prompt = config.prompt
    template = make_template(prompt.template, system=prompt.system, prefill=prompt.prefill)
    keys = ("weight", "options", "only")
    specs = {name: {key: getattr(one, key) for key in keys} for name, one in rewards.items()}
    try:
        mix = RewardMix(specs)
    except ValueError as error:
        raise ConfigError(f"rewards: {error}") from None
    if mix.uses_sandbox:  # this node's; the reward workers check those of the other nodes
        check_sandbox(config.sandbox)
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


def open_section(tasks: TasksSection, *, section: str, seed: int) -> TaskSource:
    """Open the tasks of a recipe section. Raises ConfigError."""
    options = tasks.model_dump(include={"source", "path", "split", "columns", "num_tasks"})
    return open_tasks(**options, seed=seed, section=section)


def tasks_files(tasks: TasksSection, *, section: str) -> dict[str, str]:
    """Return the file that a recipe section reads, by key."""
    return {f"{section}.path": tasks.path} if tasks.path else {}


def check_sandbox(section: SandboxSection) -> None:
    """Raise ConfigError if this machine has no sandbox of at least min_tier."""
    try:
        require(section.min_tier)
    except SandboxUnavailable as error:
        raise ConfigError(f"sandbox.min_tier: {section.min_tier}: {one_line(error)}") from None


def check_is_finite(tasks: TaskSource, *, section: str) -> None:
    """Raise ConfigError for an endless source."""
    if tasks.num_tasks is None:
        raise ConfigError(f"{section}.num_tasks: {tasks.name} is endless; set num_tasks, e.g. 256")


def check_columns(source: TaskSource, mix: RewardMix, *, section: str) -> None:
    """Raise ConfigError for a task without a column that its rewards require."""
    num_tasks = NUM_CHECKED_TASKS if source.num_tasks is None else source.num_tasks
    for task in map(source.task, range(min(NUM_CHECKED_TASKS, num_tasks))):
        try:
            required = mix.columns_for(task.columns)
        except ValueError as error:
            raise ConfigError(f"{section}: task {task.id}: {error}") from None
        if missing := next((name for name in required if name not in task.columns), None):
            raise ConfigError(
                f"{section}: task {task.id} lacks the column {missing!r} that the rewards "
                f"need; it has {', '.join(sorted(task.columns)) or 'none'}; "
                f"map one with {section}.columns.{missing}=COLUMN or leave that reward out"
            )


def make_encoder(config: GenerationStageConfig, inputs: Inputs) -> TemplateEncoder:
    """Load the tokenizer and check the length of every prompt. Raises ConfigError."""
    from transformers import AutoTokenizer

    model, max_prompt_tokens = config.model, config.rollout.max_prompt_tokens
    trust_remote_code = model.trust_remote_code
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"model.path: no tokenizer of {model.path}: {reason}") from None
    first = inputs.template.render(inputs.tasks.task(0), tokenizer=tokenizer)
    encoder = TemplateEncoder(inputs.template, tokenizer, max_prompt_tokens, first.think_prefilled)
    tasks = map(inputs.tasks.task, range(inputs.tasks.num_tasks or 0))
    for task in (*tasks, *inputs.all_eval_tasks):
        encoder.encode(task)
    return encoder
