"""Scorers of whole or partial completions: a rule, a reward model, a judge.

A rule that uses the gold answer (accuracy, passes_tests with hidden tests) turns best of n into
an oracle: pass@n. Use a rule that does not, such as think_format or a dotted path to a function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rewards import RewardMix
from rewards.verifiers.model_judge import JudgeEndpoint, grade_rubrics
from rlvr.errors import ConfigError
from rlvr.evaluation.eval_config import StrategySection
from rlvr.types import Task

__all__ = ["Scorer", "ScorerInput", "make_scorer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerInput:
    """A text to score."""

    task: Task
    prompt: str  # after the template
    text: str  # the completion, or the beginning of one


class Scorer(Protocol):
    """Scores texts; None: no score is available."""

    def __call__(self, items: Sequence[ScorerInput]) -> list[float | None]: ...


def make_scorer(strategy: StrategySection, *, think_prefilled: bool) -> Scorer:
    """Return the scorer of a strategy.

    Raises:
        ConfigError: the rule does not exist, or the judge's address or key is wrong.
    """
    try:
        if strategy.rule is not None and strategy.scorer == "rule":
            return _Rule(RewardMix({strategy.rule: {}}), think_prefilled)
        if strategy.judge is not None and strategy.scorer == "judge":
            judge = strategy.judge
            endpoint = JudgeEndpoint(url=judge.url, model=judge.model, key_env=judge.key_env)
            return _Judge(endpoint, judge.rubric, think_prefilled)
    except ValueError as error:
        raise ConfigError(f"strategy.{strategy.name}.{strategy.scorer}: {error}") from None
    assert strategy.reward_model is not None, "the config is checked"
    return _RewardModel(strategy.reward_model)


@dataclass(frozen=True, slots=True)
class _Rule:
    mix: RewardMix
    think_prefilled: bool

    def __call__(self, items: Sequence[ScorerInput]) -> list[float | None]:
        names = dict.fromkeys(name for item in items for name in item.task.columns)
        results = self.mix.grade(
            [item.text for item in items],
            {name: [item.task.columns.get(name) for item in items] for name in names},
            prompts=[item.prompt for item in items],
            think_prefilled=self.think_prefilled,
        )
        return [result.value for result in results]


@dataclass(frozen=True, slots=True)
class _RewardModel:
    """Logistic function of the logit, in (0, 1), so that scores can be added and multiplied."""

    folder: str

    def __call__(self, items: Sequence[ScorerInput]) -> list[float | None]:
        from rlvr.reward_models.preference_reward import score

        logits = score(self.folder, [item.prompt + item.text for item in items])
        return [(1.0 + math.tanh(logit / 2)) / 2 for logit in logits]


@dataclass(frozen=True, slots=True)
class _Judge:
    endpoint: JudgeEndpoint
    rubric: str
    think_prefilled: bool

    def __call__(self, items: Sequence[ScorerInput]) -> list[float | None]:
        prompts = [item.task.prompt for item in items]
        grades = grade_rubrics(
            [item.text for item in items],
            [prompt if isinstance(prompt, str) else prompt[-1]["content"] for prompt in prompts],
            [self.think_prefilled] * len(items),
            self.endpoint,
            rubric=self.rubric,
            part="whole",
        )
        return [grade.value for grade in grades]
