"""Recipe schemas of `rlvr eval` and `rlvr compare`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from rlvr.config import GenerationStageConfig, StageConfig
from rlvr.config.changes import Free
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
    """Sampling as in DeepSeek-R1's evaluation (arXiv 2501.12948, section 3, and its README)."""

    temperature: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] = Field(
        0.6, description="of sampling; vLLM's minimum is 0.01"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.95, description="cumulative probability")


class SuiteSection(Section):
    """Problems that are reported together, and the rewards that grade them."""

    tasks: TasksSection
    rewards: Rewards = Field({}, description="rewards of this suite; empty: those of the recipe")
    correct_by: str | None = Field(None, description="reward that is 1 if correct; null: the first")
    samples: PositiveInt | None = Field(None, description="per task (k); null: rollout.group_size")
    max_tokens: PositiveInt | None = Field(
        None, description="longest completion; null: rollout.max_tokens, which is the maximum"
    )
    suffix: str = Field("", description="text after each problem, e.g. to ask for a box")
    noisy_of: str | None = Field(None, description="the same suite without distractors")


class EvalJudgeSection(Section):
    """A judge behind an OpenAI-compatible address that gives scores from 0 to 10."""

    url: str = Field(description="http(s)://HOST[:PORT]/v1")
    model: str = Field(description="name of the model at the address")
    key_env: str | None = Field(None, description="environment variable that holds the key")
    rubric: str = Field(
        "The answer is correct, and each of its steps follows.",
        description="criterion of the score",
    )


class StrategySection(Section):
    """An inference strategy."""

    name: Literal["plain", "cot", "majority", "best_of_n", "beam"] = Field(
        description="samples as they are; with a cue to reason; a vote; best score; beam search"
    )
    cue: str | None = Field(
        None, description="cot: text after each problem; null: 'think step by step', or in Chinese"
    )
    scorer: Literal["rule", "reward_model", "judge"] | None = Field(
        None, description="best_of_n and beam: source of the scores"
    )
    rule: str | None = Field(None, description="a reward by name, or package.module:function")
    reward_model: PathText | None = Field(None, description="model with a scalar head")
    judge: EvalJudgeSection | None = Field(None, description="scorer judge: its address and rubric")
    by_step: bool = Field(False, description="best_of_n: score the text up to each step")
    aggregate: Literal["last", "min", "prod"] = Field("last", description="of step scores")
    vote: bool = Field(False, description="best_of_n: take the largest sum of scores")
    beams: PositiveInt = Field(4, description="beam: beams that are kept (n)")
    width: PositiveInt = Field(4, description="beam: next steps sampled per beam (m)")
    max_iterations: PositiveInt = Field(40, description="beam: maximum number of steps")
    step_end: Annotated[str, Field(min_length=1)] = Field(
        "\n\n", description="beam and by_step: text that ends a step"
    )

    @property
    def pool(self) -> str:
        """Completions that it uses: majority and best_of_n choose among the plain ones."""
        return self.name if self.name in ("cot", "beam") else "plain"

    @model_validator(mode="after")
    def _check_scorer(self) -> StrategySection:
        if self.name in ("best_of_n", "beam") and self.scorer is None:
            raise ValueError(f"strategy {self.name} needs scorer: rule, reward_model or judge")
        if self.scorer is not None and getattr(self, self.scorer) is None:
            raise ValueError(f"scorer {self.scorer} needs the key {self.scorer} beside it")
        return self


def _as_list(value: Any) -> Any:
    """Expand `strategy: cot` to `strategy: [{name: cot}]`."""
    items = value if isinstance(value, list) else [value]
    return [{"name": item} if isinstance(item, str) else item for item in items]


Strategies = Annotated[list[StrategySection], BeforeValidator(_as_list), Field(min_length=1)]


class EvaluateConfig(GenerationStageConfig):
    """An evaluation of one model."""

    stage: Literal["eval"] = Field("eval", description="which command the recipe is for")
    suites: Annotated[dict[str, SuiteSection], Field(min_length=1)] = Field(
        description="name: tasks and rewards of a suite"
    )
    rewards: Rewards = Field({}, description="rewards of suites without their own")
    rollout: EvaluationSampling = EvaluationSampling()
    strategy: Strategies = Field(
        [StrategySection(name="plain")],
        description="names or sections; each is a row of the report",
    )
    thinking_budget: PositiveInt | None = Field(
        None, description="tokens after which reasoning is closed by budget_cue; null: no limit"
    )
    budget_cue: str = Field(
        "\n</think>\n\n", description="text that closes the reasoning and begins the answer"
    )
    hide_thought: Free[bool] = Field(
        False, description="leave reasoning out of printed completions"
    )
    num_examples: Free[Annotated[int, Field(ge=0)]] = Field(
        2, description="completions per suite in the report"
    )

    @model_validator(mode="after")
    def _check(self) -> EvaluateConfig:
        for name, suite in self.suites.items():
            rewards = suite.rewards or self.rewards
            if not rewards:
                raise ValueError(f"suites.{name}.rewards: no reward is given here or in `rewards`")
            if suite.correct_by not in (None, *rewards):
                raise ValueError(
                    f"suites.{name}.correct_by: {suite.correct_by!r} is not one of the rewards: "
                    + ", ".join(rewards)
                )
            if suite.noisy_of not in (None, *self.suites):
                raise ValueError(
                    f"suites.{name}.noisy_of: {suite.noisy_of!r} is not one of the suites: "
                    + ", ".join(self.suites)
                )
            if (suite.max_tokens or 0) > self.rollout.max_tokens:
                raise ValueError(
                    f"suites.{name}.max_tokens: {suite.max_tokens} is over rollout.max_tokens="
                    f"{self.rollout.max_tokens}"
                )
        names = [strategy.name for strategy in self.strategy]
        if len(set(names)) < len(names):
            raise ValueError("strategy: each name may appear once")
        if self.thinking_budget is not None and self.thinking_budget >= self.rollout.max_tokens:
            raise ValueError(
                f"thinking_budget: {self.thinking_budget} leaves nothing of rollout.max_tokens="
                f"{self.rollout.max_tokens} for the answer"
            )
        return self


class CompareConfig(StageConfig):
    """A comparison of evaluations."""

    stage: Literal["compare"] = Field("compare", description="which command the recipe is for")
    folders: dict[str, PathText] = Field({}, description="label: folder of a finished `rlvr eval`")
    models: dict[str, PathText] = Field({}, description="label: model to evaluate first")
    evaluation: PathText | None = Field(None, description="recipe of `rlvr eval` for `models`")
    title: str = Field("Comparison", description="heading of the report")
    suites: list[str] = Field([], description="suites to compare; empty: all of them")
    num_prompts: Annotated[int, Field(ge=0)] = Field(
        5, description="prompts per suite whose completions are shown side by side"
    )
    hide_thought: bool = Field(False, description="show answers without their reasoning")
    max_chars: PositiveInt = Field(2000, description="maximum length of a completion that is shown")
    confidence: PositiveFloat = Field(1.0, description="standard errors after ±; 1.96 is 95%")
    paper: list[Literal["r1_stages", "distilled"]] = Field(
        [], description="reference rows: DeepSeek-R1's stages, its distilled models"
    )

    @model_validator(mode="after")
    def _check(self) -> CompareConfig:
        if not self.folders and not self.models:
            raise ValueError("folders or models: there is nothing to compare")
        if self.models and self.evaluation is None:
            raise ValueError("models: add evaluation: RECIPE")
        if both := set(self.folders) & set(self.models):
            raise ValueError(f"models: the label {min(both)!r} is also in folders")
        return self
