"""Base classes and sections of recipes: each key with its type, default, unit and meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from rlvr.config.changes import Neutral

__all__ = [
    "DifficultySection",
    "Frac",
    "GenerationSection",
    "GenerationStageConfig",
    "MixedTasksSection",
    "ModelSection",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PathText",
    "PositiveFloat",
    "PositiveInt",
    "PromptSection",
    "ResourcesSection",
    "RewardSection",
    "Rewards",
    "RolloutSection",
    "SamplingSection",
    "SandboxSection",
    "Section",
    "StageConfig",
    "TasksSection",
]

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Frac = Annotated[float, Field(ge=0, le=1)]
PathText = Annotated[str, AfterValidator(os.path.expanduser)]  # a path, or a name on the hub


class Section(BaseModel):
    """Base of all sections: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    shorthands: ClassVar[Mapping[str, str]] = {}  # other names: {"from": "model.path"}


class ModelSection(Section):
    """The policy to train or sample from."""

    path: PathText = Field(
        description="causal LM with its tokenizer: a directory, a hub name, a run (runs/a), a "
        "checkpoint (runs/a@20, runs/a@best) or an adapter, which is merged before all weights "
        "are trained"
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="weights and activations")
    trust_remote_code: bool = Field(False, description="run code that comes with the model")


class TasksSection(Section):
    """A source of tasks."""

    source: str = Field(
        description="gsm8k, math, countdown, mbpp, code, jsonl (any file or data set), toy, "
        "toy_programs, toy_requests, a benchmark (aime24, aime25, gpqa, svamp, cmath, "
        "humaneval, livecodebench), or package:function"
    )
    path: PathText | None = Field(None, description="file, or name of a data set")
    split: str | None = Field(None, description="train, test, train[:500]; toy: train, heldout")
    columns: dict[str, str] = Field(
        {}, description="name for the rewards: column of the file; all others keep their names"
    )
    num_tasks: PositiveInt | None = Field(None, description="use the first num_tasks; null: all")
    long_prompts: Literal["error", "filter", "truncate"] = Field(
        "error",
        description="prompts over rollout.max_prompt_tokens: refuse the run; leave these tasks "
        "out; or drop the start of their text, the template stays whole",
    )


class MixedTasksSection(TasksSection):
    """One source of a mixture."""

    weight: PositiveInt = Field(1, description="share of the tasks, relative to the other weights")
    from_step: NonNegativeInt = Field(0, description="first step that uses this source")


class PromptSection(Section):
    """Rendering of a task as the text that the model completes."""

    template: str = Field("r1_zero", description="r1_zero, plain, chat, or text with {prompt}")
    system: str | None = Field(None, description="system message; only with template: chat")
    prefill: str = Field("", description="start of the completion, e.g. '<think>\\n'")
    answer_style: Literal["zero", "r1"] = Field(
        "zero", description="zero: <think> and <answer>; r1: <think> and a boxed summary"
    )


class RewardSection(BaseModel):
    """One reward: its weight, and the reward function's own options as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True)
    weight: float = Field(1.0, description="factor in the weighted sum")
    only: dict[str, Any] = Field({}, description="column: value or list; grade these rows only")

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the reward function."""
        return dict(self.model_extra or {})


def _expand_weight(value: Any) -> Any:
    """Expand the short form `accuracy: 1.0` to `accuracy: {weight: 1.0}`."""
    return {"weight": value} if isinstance(value, int | float) else value


Rewards = dict[str, Annotated[RewardSection, BeforeValidator(_expand_weight)]]


class GenerationSection(Section):
    """Generation with vLLM engines."""

    temperature: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] = Field(
        1.0,
        description="sampling temperature, also of the learner's log-probs; minimum 0.01 (vLLM)",
    )
    max_tokens: PositiveInt = Field(1024, description="longest completion, in tokens")
    max_prompt_tokens: PositiveInt = Field(1024, description="longest allowed prompt, in tokens")
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="strings that end a completion; they stay in its text"
    )
    stop_token_ids: list[NonNegativeInt] = Field(
        [], description="tokens that end a completion, besides those in the model's files"
    )
    num_engines: Neutral[PositiveInt] = Field(1, description="vLLM engines")
    tensor_parallel: Neutral[PositiveInt] = Field(1, description="GPUs of one engine")
    max_concurrent: Neutral[PositiveInt] = Field(
        512, description="completions per engine at a time"
    )
    kv_cache_gib: Neutral[PositiveFloat] = Field(1.0, description="KV cache of one engine, in GiB")

    @property
    def max_model_tokens(self) -> int:
        """Longest prompt and completion together, in tokens."""
        return self.max_prompt_tokens + self.max_tokens


class SamplingSection(GenerationSection):
    """Generation without a learner: several completions of each task."""

    group_size: PositiveInt = Field(4, description="completions of one task (k)")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="nucleus sampling mass")


class DifficultySection(Section):
    """Tasks of unsuitable difficulty are drawn less often, by their running pass rate."""

    low: Frac = Field(0.0, description="lowest pass rate that is drawn each time")
    high: Frac = Field(1.0, description="highest pass rate that is drawn each time")
    outside_frac: Frac = Field(
        0.25, description="share of the draws of other tasks that are kept, e.g. of solved ones"
    )


class RolloutSection(GenerationSection):
    """Generation for GRPO: groups, and how far they may lag behind the learner."""

    tasks_per_step: PositiveInt = Field(32, description="groups per step; divisible by num_engines")
    group_size: Annotated[int, Field(ge=2)] = Field(16, description="completions of one task (G)")
    num_minibatches: PositiveInt = Field(
        1,
        description="optimizer steps per rollout batch, which is that many times larger: its "
        "completions are shuffled and each is used once; weights are synced after the last",
    )
    max_staleness: Annotated[int, Field(ge=0, le=8)] = Field(
        0,
        description="0: on-policy, reproducible bit by bit; k: groups are generated all the time, "
        "up to k batches ahead, and new weights are loaded between two decode steps; weights lag "
        "at most (k + 1) * num_minibatches - 1 steps",
    )
    interrupt: Literal["keep", "restart"] = Field(
        "keep",
        description="completions under way when new weights arrive (max_staleness above 0): go on "
        "with mixed versions, or begin again",
    )
    dynamic_sampling: bool | None = Field(
        None,
        description="leave out groups whose completions are equally right, and generate others "
        "instead; null: with loss.name: dapo",
    )
    max_oversampling: Annotated[float, Field(ge=1)] = Field(
        8.0, description="dynamic_sampling: groups generated for one batch, in batches"
    )
    difficulty: DifficultySection | None = Field(
        None, description="draw tasks outside of a range of pass rates less often; null: all alike"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="nucleus sampling mass; needs temperature 1: engine and learner compare "
        "log-probs of the whole distribution",
    )
    top_k: PositiveInt | None = Field(
        None, description="sample among the top_k likeliest tokens; null: all; as top_p"
    )
    max_tokens_from: dict[NonNegativeInt, PositiveInt] = Field(
        {}, description="step: max_tokens of rollout batches that start then or later"
    )
    store: Neutral[Literal["text", "tokens"]] = Field(
        "tokens",
        description="rollouts/step_*.parquet has texts and rewards, or with tokens also the token "
        "ids and log-probs that a replay needs; evaluations hold texts",
    )
    only: bool = Field(
        False, description="generate, grade and store with the weights of model.path; no learner"
    )

    @property
    def is_truncated(self) -> bool:
        """Whether top_p or top_k exclude tokens from sampling."""
        return self.top_p < 1 or self.top_k is not None

    @property
    def max_model_tokens(self) -> int:
        """Longest prompt and completion together at any step, in tokens."""
        return self.max_prompt_tokens + max(self.max_tokens, *self.max_tokens_from.values(), 0)

    def max_tokens_at(self, step: int) -> int:
        """Longest completion of a rollout batch whose training starts after `step` steps."""
        started = [start for start in self.max_tokens_from if start <= step]
        return self.max_tokens_from[max(started)] if started else self.max_tokens


class ResourcesSection(Section):
    """GPUs and CPU threads per actor, and deadlines; GPUs are 0 on a cluster without any."""

    engine_gpus: NonNegativeFloat | None = Field(None, description="GPUs; null: tensor_parallel")
    learner_gpus: NonNegativeFloat | None = Field(None, description="GPUs of a rank; null: 1")
    engine_threads: PositiveInt | None = Field(None, description="CPU threads; null: equal share")
    learner_threads: PositiveInt | None = Field(None, description="CPU threads; null: equal share")
    reward_workers: PositiveInt = Field(1, description="actors that grade")
    start_deadline_s: PositiveFloat = Field(900.0, description="start of all actors, in seconds")
    phase_deadline_s: PositiveFloat = Field(
        3600.0, description="learner step, sync, grading or checkpoint, in seconds"
    )
    engine_deadline_s: PositiveFloat = Field(
        600.0, description="time without a decode step after which an engine is started again"
    )
    max_restarts: NonNegativeInt = Field(
        3,
        description="dead or hung engines that are started again; and times that the run resumes "
        "by itself after the death of a learner rank or of Ray (docs/failures.md)",
    )


class SandboxSection(Section):
    """Isolation of the programs that code rewards run."""

    min_tier: Literal["unsafe", "remote", "landlock", "namespaces"] = Field(
        "landlock", description="weakest isolation that a run accepts (docs/sandbox.md)"
    )


class StageConfig(Section):
    """Base of all recipes; a subclass adds `stage`, the command that runs it."""

    name: Neutral[str] = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the run folder"
    )
    output_dir: Neutral[PathText] = Field("runs", description="the run folder is output_dir/name")
    seed: NonNegativeInt = Field(0, description="seed of all random numbers")

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.output_dir) / self.name


class GenerationStageConfig(StageConfig):
    """Base of recipes whose stage generates with vLLM on Ray."""

    model: ModelSection
    prompt: PromptSection = PromptSection()
    rollout: GenerationSection = GenerationSection()
    resources: Neutral[ResourcesSection] = ResourcesSection()
    sandbox: Neutral[SandboxSection] = SandboxSection()

    @property
    def num_engines(self) -> int:
        """Number of engines."""
        return self.rollout.num_engines

    @property
    def num_reward_workers(self) -> int:
        """Number of actors that grade."""
        return self.resources.reward_workers

    @property
    def num_ranks(self) -> int:
        """Number of learner ranks."""
        return 0

    @property
    def colocated(self) -> bool:
        """Whether engines and learner never compute at the same time and share all cores."""
        return True
