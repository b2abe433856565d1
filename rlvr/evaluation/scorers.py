"""What gives scores to completions, whole or begun: a rule, a reward model, a judge.

A rule that sees the gold (accuracy, passes_tests with the hidden tests) makes best-of-n an oracle,
which is pass@n; as a verifier take one that does not: think_format, a function of your own, the
tests that the problem shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rewards import RewardMix
from rewards.verifiers.model_judge import JudgeEndpoint, grade_rubrics
from rlvr.errors import ConfigError
from rlvr.evaluation.eval_config import EvalJudgeSection, StrategySection
from rlvr.types import Task

__all__ = ["Scorer", "ScorerInput", "make_scorer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerInput:
    """A text that is to be scored."""

    task: Task
    prompt: str  # as the model read it
    text: str  # what it wrote, perhaps only its beginning


class Scorer(Protocol):
    """Scores texts; None: no score could be had."""

    def __call__(self, items: Sequence[ScorerInput]) -> list[float | None]: ...


def make_scorer(strategy: StrategySection, *, think_prefilled: bool) -> Scorer:
    """The scorer that a strategy names.

    Raises:
        ConfigError: a reward or a key that does not exist.
    """
    try:
        if strategy.rule is not None and strategy.scorer == "rule":
            return _Rule(RewardMix({strategy.rule: {}}), think_prefilled)
        if strategy.judge is not None and strategy.scorer == "judge":
            return _Judge(_endpoint(strategy.judge), strategy.judge.rubric, think_prefilled)
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
    """The logistic function of the logit: in (0, 1), so that scores may be added and multiplied."""

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
        grades = grade_rubrics(
            [item.text for item in items],
            [_question(item.task) for item in items],
            [self.think_prefilled] * len(items),
            self.endpoint,
            rubric=self.rubric,
            part="whole",
        )
        return [grade.value for grade in grades]


def _endpoint(judge: EvalJudgeSection) -> JudgeEndpoint:
    return JudgeEndpoint(url=judge.url, model=judge.model, key_env=judge.key_env)


def _question(task: Task) -> str:
    return task.prompt if isinstance(task.prompt, str) else task.prompt[-1]["content"]
