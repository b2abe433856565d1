"""Scorers of whole or partial completions: a rule, a reward model, a judge.

A rule that uses the gold answer (accuracy, passes_tests with hidden tests) turns best of n into
an oracle: pass@n. Use a rule that does not, such as think_format or a dotted path to a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rewards import RewardMix
from rewards.verifiers.model_judge import JudgeEndpoint, grade_by_judge
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


Scorer = Callable[[Sequence[ScorerInput]], list[float | None]]  # None: no score is available


def make_scorer(strategy: StrategySection, *, think_prefilled: bool) -> Scorer:
    """Return the scorer. Raises ConfigError for an unknown rule, or a wrong address or key."""
    try:
        if strategy.rule is not None and strategy.scorer == "rule":
            return partial(_rule_scores, RewardMix({strategy.rule: {}}), think_prefilled)
        if strategy.judge is not None and strategy.scorer == "judge":
            judge = strategy.judge
            endpoint = JudgeEndpoint(url=judge.url, model=judge.model, key_env=judge.key_env)
            return partial(_judge_scores, endpoint, judge.rubric, think_prefilled)
    except ValueError as error:
        raise ConfigError(f"strategy.{strategy.name}.{strategy.scorer}: {error}") from None
    assert strategy.reward_model is not None, "the config is checked"
    return partial(_reward_model_scores, strategy.reward_model)


def _rule_scores(
    mix: RewardMix, think_prefilled: bool, items: Sequence[ScorerInput]
) -> list[float | None]:
    names = dict.fromkeys(name for item in items for name in item.task.columns)
    results = mix.grade(
        [item.text for item in items],
        {name: [item.task.columns.get(name) for item in items] for name in names},
        prompts=[item.prompt for item in items],
        think_prefilled=think_prefilled,
    )
    return [result.value for result in results]


def _reward_model_scores(folder: str, items: Sequence[ScorerInput]) -> list[float | None]:
    """Logistic function of the logits, in (0, 1), so that scores can be added and multiplied."""
    from rlvr.reward_models.preference_reward import score

    logits = score(folder, [item.prompt + item.text for item in items])
    return [(1.0 + math.tanh(logit / 2)) / 2 for logit in logits]


def _judge_scores(
    endpoint: JudgeEndpoint, rubric: str, think_prefilled: bool, items: Sequence[ScorerInput]
) -> list[float | None]:
    prompts = [item.task.prompt for item in items]
    grades = grade_by_judge(
        [item.text for item in items],
        [prompt if isinstance(prompt, str) else prompt[-1]["content"] for prompt in prompts],
        [think_prefilled] * len(items),
        endpoint,
        rubric=rubric,
        part="whole",
    )
    return [grade.value for grade in grades]
