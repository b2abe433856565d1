"""The recipes of an evaluation and of a comparison."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from rlvr.config import GenerationStageConfig, StageConfig
from rlvr.config.sections import (
    PathText,
    PositiveFloat,
    PositiveInt,
    Rewards,
    SamplingSection,
    Section,
    TasksSection,
)

__all__ = [
    "CompareConfig",
    "EvalJudgeSection",
    "EvaluateConfig",
    "EvaluationSampling",
    "StrategySection",
    "SuiteSection",
]


class EvaluationSampling(SamplingSection):
    """How an evaluation writes: as DeepSeek-R1's (arXiv 2501.12948, section 3, and its README)."""

    temperature: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] = Field(
        0.6, description="of sampling; 0.01 is vLLM's least"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="only the likeliest tokens of this mass are drawn from"
    )


class SuiteSection(Section):
    """Problems that are reported together, and what counts as right."""

    tasks: TasksSection
    rewards: Rewards = Field({}, description="that grade this suite; none: those of the recipe")
    correct_by: str | None = Field(
        None, description="reward that says right or wrong; null: the first one"
    )
    samples: PositiveInt | None = Field(
        None, description="completions of one task (k); null: rollout.group_size"
    )
    max_tokens: PositiveInt | None = Field(
        None, description="longest completion; null: rollout.max_tokens, which it may not exceed"
    )
    suffix: str = Field(
        "", description="text behind each problem, e.g. a request to put the answer in a box"
    )
    noisy_of: str | None = Field(
        None, description="the suite with the same problems without distractors, for robustness"
    )


class EvalJudgeSection(Section):
    """A model behind an OpenAI-compatible address that gives scores from 0 to 10."""

    url: str = Field(description="http(s)://HOST[:PORT]/v1")
    model: str = Field(description="its name there")
    key_env: str | None = Field(None, description="environment variable that holds the key")
    rubric: str = Field(
        "The answer is correct, and each of its steps follows.", description="what a score is for"
    )


class StrategySection(Section):
    """What is done with a task at inference time."""

    name: Literal["plain", "cot", "majority", "best_of_n", "beam"] = Field(
        description="samples as they are; with a cue to think; a vote; the best one; a search"
    )
    cue: str | None = Field(
        None, description="cot: text behind each problem; null: 'think step by step', or in Chinese"
    )
    scorer: Literal["rule", "reward_model", "judge"] | None = Field(
        None, description="best_of_n and beam: what gives scores"
    )
    rule: str | None = Field(
        None, description="scorer rule: name of a reward, or package.module:function"
    )
    reward_model: PathText | None = Field(
        None, description="scorer reward_model: directory of a model with a scalar head"
    )
    judge: EvalJudgeSection | None = Field(None, description="scorer judge: who it is")
    by_step: bool = Field(
        False, description="best_of_n: score the text up to each step, not the whole alone"
    )
    aggregate: Literal["last", "min", "prod"] = Field("last", description="of step scores into one")
    vote: bool = Field(
        False, description="best_of_n: add the scores of equal answers up, and take the most"
    )
    beams: PositiveInt = Field(4, description="beam: texts that are kept (n)")
    width: PositiveInt = Field(4, description="beam: next steps tried of each (m)")
    max_iterations: PositiveInt = Field(40, description="beam: steps at most")
    step_end: Annotated[str, Field(min_length=1)] = Field(
        "\n\n", description="beam and by_step: text that ends a step"
    )

    @property
    def pool(self) -> str:
        """Whose completions it looks at: majority and best_of_n choose among the plain ones."""
        return self.name if self.name in ("cot", "beam") else "plain"

    @model_validator(mode="after")
    def _scorer_is_there(self) -> StrategySection:
        needs_one = self.name in ("best_of_n", "beam")
        if needs_one and self.scorer is None:
            raise ValueError(f"strategy {self.name} needs scorer: rule, reward_model or judge")
        if self.scorer is not None and getattr(self, self.scorer) is None:
            raise ValueError(f"scorer {self.scorer} needs the key {self.scorer} beside it")
        return self


def _as_list(value: Any) -> Any:
    """`strategy: cot` is short for `strategy: [{name: cot}]`."""
    items = value if isinstance(value, list) else [value]
    return [{"name": item} if isinstance(item, str) else item for item in items]


Strategies = Annotated[list[StrategySection], BeforeValidator(_as_list), Field(min_length=1)]


class EvaluateConfig(GenerationStageConfig):
    """An evaluation of one model."""

    stage: Literal["eval"] = Field("eval", description="which command the recipe is for")
    suites: Annotated[dict[str, SuiteSection], Field(min_length=1)] = Field(
        description="name of a suite: its tasks and how they are graded"
    )
    rewards: Rewards = Field({}, description="of suites that name none of their own")
    rollout: EvaluationSampling = EvaluationSampling()
    strategy: Strategies = Field(
        [StrategySection(name="plain")], description="names or sections, each a row of the table"
    )
    thinking_budget: PositiveInt | None = Field(
        None, description="tokens of a thought, which is then closed by force; null: no end is set"
    )
    budget_cue: str = Field(
        "\n</think>\n\n", description="text that closes a thought and begins the answer"
    )
    hide_thought: bool = Field(False, description="leave thoughts out of printed completions")
    num_examples: Annotated[int, Field(ge=0)] = Field(
        2, description="completions of each suite in the report"
    )

    @model_validator(mode="after")
    def _suites_are_whole(self) -> EvaluateConfig:
        for name, suite in self.suites.items():
            rewards = suite.rewards or self.rewards
            if not rewards:
                raise ValueError(f"suites.{name}.rewards: nothing says what is right")
            if suite.correct_by not in (None, *rewards):
                raise ValueError(
                    f"suites.{name}.correct_by: {suite.correct_by!r} is none of the rewards: "
                    + ", ".join(rewards)
                )
            if suite.noisy_of not in (None, *self.suites):
                raise ValueError(
                    f"suites.{name}.noisy_of: {suite.noisy_of!r} is none of the suites: "
                    + ", ".join(self.suites)
                )
            if (suite.max_tokens or 0) > self.rollout.max_tokens:
                raise ValueError(
                    f"suites.{name}.max_tokens: {suite.max_tokens} is over rollout.max_tokens="
                    f"{self.rollout.max_tokens}"
                )
        return self

    @model_validator(mode="after")
    def _strategies_are_different(self) -> EvaluateConfig:
        names = [strategy.name for strategy in self.strategy]
        if len(set(names)) < len(names):
            raise ValueError("strategy: each may stand once")
        return self

    @model_validator(mode="after")
    def _budget_fits(self) -> EvaluateConfig:
        if self.thinking_budget is not None and self.thinking_budget >= self.rollout.max_tokens:
            raise ValueError(
                f"thinking_budget: {self.thinking_budget} leaves nothing of rollout.max_tokens="
                f"{self.rollout.max_tokens} for the answer"
            )
        return self


class CompareConfig(StageConfig):
    """A comparison of finished evaluations."""

    stage: Literal["compare"] = Field("compare", description="which command the recipe is for")
    folders: dict[str, PathText] = Field(
        {}, description="label: folder of a finished `rlvr eval`, in the order of the columns"
    )
    models: dict[str, PathText] = Field(
        {}, description="label: model that is evaluated first, as `evaluation` says"
    )
    evaluation: PathText | None = Field(None, description="recipe of `rlvr eval` for `models`")
    title: str = Field("Comparison", description="heading of the report")
    suites: list[str] = Field([], description="only these; empty: all that some folder has")
    num_prompts: Annotated[int, Field(ge=0)] = Field(
        5, description="prompts of each suite that are shown side by side"
    )
    hide_thought: bool = Field(False, description="show answers without their thoughts")
    max_chars: PositiveInt = Field(2000, description="of a completion that is shown")
    confidence: PositiveFloat = Field(1.0, description="standard errors behind +-; 1.96 is 95%")
    paper: list[Literal["r1_stages", "distilled"]] = Field(
        [], description="reference rows: DeepSeek-R1's stages, its distilled models"
    )

    @model_validator(mode="after")
    def _something_is_compared(self) -> CompareConfig:
        if not self.folders and not self.models:
            raise ValueError("folders or models: there is nothing to compare")
        if self.models and self.evaluation is None:
            raise ValueError("models: how to evaluate them is missing; add evaluation: RECIPE")
        if both := set(self.folders) & set(self.models):
            raise ValueError(f"models: the label {min(both)!r} stands in folders already")
        return self
