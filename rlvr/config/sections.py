"""Base classes and sections of recipes: each key with its type, default, unit and meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rlvr.config.changes import Free, Neutral

__all__ = [
    "CheckpointSection",
    "ChecksSection",
    "EvalSection",
    "Frac",
    "GenerationSection",
    "GenerationStageConfig",
    "LearnerSection",
    "LossName",
    "LossSection",
    "MixedTasksSection",
    "ModelSection",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PathText",
    "PositiveFloat",
    "PositiveInt",
    "PromptSection",
    "ResourcesSection",
    "RetentionSection",
    "RewardSection",
    "Rewards",
    "RolloutSection",
    "SamplingSection",
    "SandboxSection",
    "Section",
    "StageConfig",
    "TasksSection",
    "TrackersSection",
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
        description="rollout batches generated ahead; 0: on-policy, 1: generate while the learner "
        "works; weights lag at most (max_staleness + 1) * num_minibatches - 1 steps",
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


class LearnerSection(Section):
    """Optimization with DeepSpeed."""

    num_ranks: PositiveInt = Field(1, description="data-parallel learner processes")
    zero_stage: Literal[0, 1, 2, 3] = Field(
        0, description="ZeRO stage; bfloat16 uses at least 1, to accumulate gradients in float32"
    )
    lr: Free[PositiveFloat] = Field(1e-6, description="peak learning rate of AdamW")
    lr_schedule: Free[Literal["constant", "linear", "cosine"]] = Field(
        "constant", description="after the warm-up, until the last step of the run"
    )
    min_lr_frac: Free[Frac] = Field(0.0, description="of lr, at the end of linear and cosine")
    warmup_steps: Free[NonNegativeInt] = Field(0, description="steps of linear warm-up")
    weight_decay: Free[NonNegativeFloat] = Field(0.0, description="of AdamW")
    max_grad_norm: Free[PositiveFloat] = Field(
        1.0, description="gradients are clipped to this norm"
    )
    token_budget: Neutral[PositiveInt] = Field(
        8192,
        description="tokens in a micro-batch; completions of a group share their prompt, which "
        "counts once, and nothing is padded",
    )
    gradient_checkpointing: Neutral[bool] = Field(
        False, description="less memory, a third more time"
    )
    offload: bool = Field(False, description="optimizer states in host memory; zero_stage >= 1")

    @model_validator(mode="after")
    def _offload_needs_zero(self) -> LearnerSection:
        if self.offload and self.zero_stage == 0:
            raise ValueError("offload: true needs zero_stage 1, 2 or 3 (it is 0)")
        return self


LossName = Literal["grpo", "dr_grpo", "dapo"]


class LossSection(Section):
    """The objective."""

    name: LossName = Field(
        "grpo",
        description="grpo: mean over completions of the mean over tokens; dapo: mean over tokens; "
        "dr_grpo: sum over tokens / max_tokens",
    )
    clip_low: Annotated[float, Field(gt=0)] = Field(0.2, description="ratio >= 1 - clip_low")
    clip_high: Annotated[float, Field(gt=0)] = Field(0.2, description="ratio <= 1 + clip_high")
    beta: NonNegativeFloat = Field(0.0, description="KL weight; 0: no reference")
    replace_reference_every: PositiveInt | None = Field(
        None, description="steps between replacements of the reference by the policy; null: never"
    )

    @model_validator(mode="after")
    def _reference_needs_beta(self) -> LossSection:
        if self.replace_reference_every and self.beta == 0:
            raise ValueError(
                "replace_reference_every needs beta > 0 (without the KL term there is no reference)"
            )
        return self


class EvalSection(Section):
    """Evaluation on held-out tasks during training."""

    tasks: TasksSection | None = Field(None, description="held-out tasks; null: no evaluation")
    every_steps: PositiveInt | None = Field(
        None, description="steps between evaluations; null: before the first, after the last only"
    )
    samples_per_task: PositiveInt = Field(1, description="completions of one task (k)")
    temperature: PositiveFloat = Field(1.0, description="sampling temperature")
    correct_by: str | None = Field(None, description="reward for pass@1; null: the first one")


class RetentionSection(Section):
    """Checkpoints that stay on disk; one that any of the three keys names is kept."""

    last: PositiveInt = Field(2, description="the newest ones; a run resumes from the newest")
    best: NonNegativeInt = Field(
        0, description="those with the highest held-out pass@1, among the evaluated ones"
    )
    every: PositiveInt | None = Field(
        None, description="those whose step is a multiple of this; null: none"
    )


def _expand_last(value: Any) -> Any:
    """Expand the short form `keep: 2` to `keep: {last: 2}`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"last": value}
    if not isinstance(value, dict | RetentionSection):
        raise ValueError("give a number, or {last: 2, best: 1, every: 100}")
    return value


class CheckpointSection(Section):
    """Checkpoints: to resume from, and models that every command reads as `runs/NAME@STEP`."""

    every_steps: PositiveInt = Field(50, description="steps between checkpoints; also at the end")
    keep: Annotated[RetentionSection, BeforeValidator(_expand_last)] = Field(
        RetentionSection(),
        description="number of newest ones, or {last: 2, best: 1, every: 100}",
    )


class ChecksSection(Section):
    """Self-checks; a run that fails one stops and names the reason."""

    max_mismatch_kl: PositiveFloat = Field(
        0.01, description="k3 between learner and engine at the same weights, in nats per token"
    )
    max_probe_error: PositiveFloat | None = Field(
        None, description="log-prob error on the probe text, in nats; null: 0.001, bfloat16 0.5"
    )
    max_first_ratio_error: PositiveFloat | None = Field(
        None, description="|ratio - 1| at the first step; null: 0.01, in bfloat16 no limit"
    )
    max_ungraded_frac: Frac = Field(0.2, description="completions that no reward could grade")
    max_no_signal_steps: PositiveInt = Field(
        10, description="consecutive steps in which every group has equal rewards"
    )
    preflight_tasks: NonNegativeInt = Field(
        20_000, description="rows whose gold must earn full reward; 0: none; endless source: 256"
    )
    preflight_s: PositiveFloat = Field(
        3.0, description="seconds of grading golds; rows that are left then are not graded"
    )
    max_bad_golds: NonNegativeInt = Field(0, description="preflight rows that may fail")


class ResourcesSection(Section):
    """GPUs and CPU threads per actor, and deadlines; GPUs are 0 on a cluster without any."""

    engine_gpus: NonNegativeFloat | None = Field(None, description="GPUs; null: tensor_parallel")
    learner_gpus: NonNegativeFloat | None = Field(None, description="GPUs of a rank; null: 1")
    engine_threads: PositiveInt | None = Field(None, description="CPU threads; null: equal share")
    learner_threads: PositiveInt | None = Field(None, description="CPU threads; null: equal share")
    reward_workers: PositiveInt = Field(1, description="actors that grade")
    start_deadline_s: PositiveFloat = Field(900.0, description="start of all actors, in seconds")
    phase_deadline_s: PositiveFloat = Field(
        3600.0,
        description="learner step, sync, grading or checkpoint, in seconds; for a rollout batch: "
        "time without any finished completion",
    )


class SandboxSection(Section):
    """Isolation of the programs that code rewards run."""

    min_tier: Literal["unsafe", "remote", "landlock", "namespaces"] = Field(
        "landlock", description="weakest isolation that a run accepts (docs/sandbox.md)"
    )


class TrackersSection(Section):
    """Copies of metrics.jsonl for other tools.

    A tracker that cannot start is an error; one that fails later is switched off.
    """

    tensorboard: bool = Field(False, description="write event files to the run folder")
    wandb: bool = Field(
        False, description="metrics, config and completions to Weights & Biases; see WANDB_MODE"
    )
    completions_every_steps: PositiveInt = Field(
        10, description="steps between tables of completions (wandb)"
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
    def num_ranks(self) -> int:
        """Number of learner ranks."""
        return 0

    @property
    def colocated(self) -> bool:
        """Whether engines and learner never compute at the same time and share all cores."""
        return True
