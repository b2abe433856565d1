"""Check the user's inputs before anything heavy is imported: model, tasks, rewards, template.

`make_encoder`, which loads the tokenizer, is the exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rewards import RewardMix
from rlvr.config import GenerationStageConfig
from rlvr.config.sections import RewardSection, SandboxSection, TasksSection
from rlvr.data.model_copy import MODEL_COPY, find_model, hold_model, origin_of
from rlvr.data.model_files import absolute_path, below_adapter, check_context
from rlvr.data.prompts import PromptTemplate, TemplateEncoder, make_template
from rlvr.data.tasks import TaskSource, open_tasks, place_of
from rlvr.data.template_checks import check_template
from rlvr.data.tokenizer_loading import load_tokenizer
from rlvr.errors import ConfigError, one_line
from rlvr.types import Task
from sandbox import SandboxUnavailable, require

__all__ = [
    "Inputs",
    "check_columns",
    "check_generation",
    "check_is_finite",
    "check_sandbox",
    "hold_inputs",
    "make_encoder",
    "open_section",
    "tasks_files",
]

NUM_CHECKED_TASKS = 1000  # whose columns are checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The checked inputs of a run."""

    model: str  # folder or hub name; an adapter or a checkpoint until `hold_inputs`
    tasks: TaskSource
    eval_tasks: TaskSource | None
    sources: Mapping[str, TaskSource]  # section of the recipe -> its tasks
    template: PromptTemplate
    mix: RewardMix  # for its requirements only; the reward actors grade with mixes of their own
    rewards: Mapping[str, Mapping[str, Any]]  # arguments of a RewardMix
    files: Mapping[str, str]  # recipe key -> file or model folder that is read
    encoder: TemplateEncoder | None = None  # once the preflight has loaded the tokenizer

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
    model = find_model(config.model.path, copy=config.run_dir / MODEL_COPY)
    check_context(below_adapter(model), num_tokens=config.rollout.max_model_tokens)
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
        model=model,
        tasks=source,
        eval_tasks=None,
        sources={section: source},
        template=template,
        mix=mix,
        rewards=specs,
        files={"model.path": origin_of(model), **tasks_files(tasks, section=section)},
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
            mix.columns_for(task.columns)
        except ValueError as error:
            raise ConfigError(f"{section}: task {task.id}: {error}") from None
        if missing := mix.missing_column(task.columns):
            name, column = missing
            raise ConfigError(
                f"{section}: reward {name} needs the column {column!r}, which "
                f"{place_of(task, source)} lacks; it has "
                f"{', '.join(sorted(task.columns)) or 'none'}; rename one with "
                f"{section}.columns.{column}=COLUMN or leave that reward out"
            )


def hold_inputs(
    config: GenerationStageConfig, inputs: Inputs, *, say: Callable[[str], None] = print
) -> Inputs:
    """Return the inputs with the absolute path of a model that stays (`rlvr.data.model_copy`)."""
    model = hold_model(
        config.model.path,
        copy=config.run_dir / MODEL_COPY,
        dtype=config.model.dtype,
        trust_remote_code=config.model.trust_remote_code,
        say=say,
    )
    return replace(inputs, model=absolute_path(model))


def make_encoder(config: GenerationStageConfig, inputs: Inputs) -> TemplateEncoder:
    """Load the tokenizer and check that the template suits it. Raises ConfigError."""
    model = config.model
    tokenizer = load_tokenizer(
        inputs.model, trust_remote_code=model.trust_remote_code, name=model.path
    )
    first = inputs.tasks.task(0)
    rendered = inputs.template.render(first, tokenizer=tokenizer)
    encoder = TemplateEncoder(
        inputs.template, tokenizer, config.rollout.max_prompt_tokens, rendered.think_prefilled
    )
    check_template(encoder, first, model=below_adapter(inputs.model))
    return encoder
