"""Load and check the inputs of an evaluation: the tasks of each suite and one mix of rewards.

Each task has the name of its suite in the column `eval_suite`, and each reward is limited to the
suites that name it, so that one set of reward workers grades all suites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rewards import RewardMix
from rlvr.data.inputs import Inputs, check_generation, check_is_finite
from rlvr.data.model_files import check_model
from rlvr.data.samples import language_of, last_turn
from rlvr.data.tasks import TaskList, TaskSource
from rlvr.errors import ConfigError
from rlvr.evaluation.eval_config import EvaluateConfig, SuiteSection
from rlvr.evaluation.scorers import make_scorer
from rlvr.types import Task

__all__ = [
    "COT_CUES",
    "SUITE",
    "EvaluationInputs",
    "Suite",
    "check_eval",
    "keep_fitting",
    "with_cue",
    "with_suffix",
]

COT_CUES = {"en": "Let's think step by step.", "zh": "让我们一步一步地思考。"}
SUITE = "eval_suite"  # column with the name of a task's suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The tasks of one suite and how they are sampled and graded."""

    name: str
    tasks: tuple[Task, ...]
    correct_by: str  # a completion is right if this reward is 1
    num_samples: int  # k, completions per task
    max_tokens: int
    noisy_of: str | None  # the same suite without distractors

    def samples_of(self, pool: str) -> int:
        """Return the number of rows per task: a beam search yields one completion."""
        return 1 if pool == "beam" else self.num_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationInputs:
    """Checked inputs of an evaluation."""

    suites: tuple[Suite, ...]
    generation: Inputs  # all tasks and the rewards of all suites


def check_eval(config: EvaluateConfig) -> EvaluationInputs:
    """Load the inputs. Raises ConfigError for the first error."""
    suites: list[Suite] = []
    parts: list[Inputs] = []
    for name, section in config.suites.items():
        key = f"suites.{name}.tasks"
        if section.tasks.long_prompts == "truncate":
            raise ConfigError(
                f"{key}.long_prompts: truncate changes the problems of a suite; allowed: error, "
                "filter"
            )
        rewards = section.rewards or config.rewards
        part = check_generation(config, section.tasks, rewards, section=key)
        check_is_finite(part.tasks, section=key)
        suites.append(_suite(name, section, part, config))
        parts.append(part)
    _check_pairs(suites)
    files = {key: path for part in parts for key, path in part.files.items()}
    files |= _check_strategies(config, suites)
    specs = _reward_specs(config)
    cues = [strategy.cue for strategy in config.strategy if strategy.name == "cot"]
    sources = {
        f"suites.{suite.name}.tasks": TaskList(
            name=suite.name,
            # with the cue of cot, so that the length check of prompts includes it
            tasks=tuple(
                replace(with_cue(task, cues[0]) if cues else task, id=_full_id(suite, task))
                for task in suite.tasks
            ),
            origin=part.tasks.origin if isinstance(part.tasks, TaskList) else None,
        )
        for suite, part in zip(suites, parts, strict=True)
    }
    generation = replace(
        parts[0],
        tasks=_joined(config, sources),
        sources=sources,
        mix=RewardMix(specs),
        rewards=specs,
        files=files,
    )
    return EvaluationInputs(suites=tuple(suites), generation=generation)


def keep_fitting(
    config: EvaluateConfig, suites: Sequence[Suite], checked: Inputs
) -> EvaluationInputs:
    """Return the inputs with the tasks of `checked.sources`, whose prompts are short enough.

    Raises ConfigError: a noisy suite and its clean one have no longer the same problems.
    """
    tasks = _joined(config, checked.sources)
    fitting = {task.id for task in tasks.tasks}
    kept = tuple(
        replace(suite, tasks=tuple(t for t in suite.tasks if _full_id(suite, t) in fitting))
        for suite in suites
    )
    _check_pairs(kept)
    return EvaluationInputs(suites=kept, generation=replace(checked, tasks=tasks))


def _joined(config: EvaluateConfig, sources: Mapping[str, TaskSource]) -> TaskList:
    tasks = (one.task(i) for one in sources.values() for i in range(one.num_tasks or 0))
    return TaskList(name=config.name, tasks=tuple(tasks))


def _full_id(suite: Suite, task: Task) -> str:
    return f"{suite.name}/{task.id}"


def _suite(name: str, section: SuiteSection, part: Inputs, config: EvaluateConfig) -> Suite:
    tasks = map(part.tasks.task, range(part.tasks.num_tasks or 0))
    return Suite(
        name=name,
        tasks=tuple(
            replace(with_suffix(task, section.suffix), columns={**task.columns, SUITE: name})
            for task in tasks
        ),
        correct_by=section.correct_by or next(iter(section.rewards or config.rewards)),
        num_samples=section.samples or config.rollout.group_size,
        max_tokens=section.max_tokens or config.rollout.max_tokens,
        noisy_of=section.noisy_of,
    )


def with_suffix(task: Task, suffix: str) -> Task:
    """Append text to the problem, or to the last message of a conversation."""
    if not suffix:
        return task
    if isinstance(task.prompt, str):
        return replace(task, prompt=f"{task.prompt.rstrip()}\n{suffix}")
    *before, last = task.prompt
    last = {**last, "content": f"{last['content'].rstrip()}\n{suffix}"}
    return replace(task, prompt=[*before, last])


def with_cue(task: Task, cue: str | None) -> Task:
    """Append a cue to the problem; None: "think step by step" in the language of the prompt."""
    if cue is None:
        cue = COT_CUES[language_of({"prompt": last_turn(task.prompt)})]
    return with_suffix(task, cue)


def _reward_specs(config: EvaluateConfig) -> dict[str, dict[str, Any]]:
    """Return one spec per reward, limited to the suites that name it."""
    specs: dict[str, dict[str, Any]] = {}
    for suite, suite_section in config.suites.items():
        for name, section in (suite_section.rewards or config.rewards).items():
            only: dict[str, Any] = {**section.only, SUITE: []}
            spec = specs.setdefault(
                name, {"weight": section.weight, "options": section.options, "only": only}
            )
            names = spec["only"][SUITE]
            if spec["options"] != section.options or spec["only"] != {**only, SUITE: names}:
                raise ConfigError(
                    f"suites.{suite}.rewards.{name}: has other options than in suite {names[0]}; "
                    "use the same options in both, or two recipes"
                )
            names.append(suite)
    return specs


def _check_pairs(suites: Sequence[Suite]) -> None:
    """Check that a noisy suite has as many tasks as its clean one."""
    sizes = {suite.name: len(suite.tasks) for suite in suites}
    for suite in suites:
        if suite.noisy_of is not None and sizes[suite.noisy_of] != len(suite.tasks):
            raise ConfigError(
                f"suites.{suite.name}.noisy_of: {suite.noisy_of} has {sizes[suite.noisy_of]} tasks "
                f"and {suite.name} {len(suite.tasks)}; they must be the same problems"
            )


def _check_strategies(config: EvaluateConfig, suites: Sequence[Suite]) -> dict[str, str]:
    """Check the scorers of all strategies; return the files of reward models by key."""
    files = {}
    for strategy in config.strategy:
        if strategy.scorer is not None:
            make_scorer(strategy, think_prefilled=False)
        if strategy.rule is not None:
            needed = RewardMix({strategy.rule: {}}).required_columns
            for suite in suites:
                if missing := set(needed) - set(suite.tasks[0].columns):
                    raise ConfigError(
                        f"strategy.{strategy.name}.rule: {strategy.rule} needs the column "
                        f"{min(missing)!r}, which suite {suite.name} lacks"
                    )
        if strategy.reward_model is not None:
            key = f"strategy.{strategy.name}.reward_model"
            files[key] = check_model(strategy.reward_model, key=key)
    return files
