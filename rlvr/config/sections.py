"""The sections of a recipe: each key with its type, its default, its unit and what it means."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = [
    "CheckpointSection",
    "ChecksSection",
    "EvalSection",
    "Frac",
    "GenerationSection",
    "LearnerSection",
    "LossSection",
    "MixedTasksSection",
    "ModelSection",
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
    "TasksSection",
    "TrackersSection",
]

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Frac = Annotated[float, Field(ge=0, le=1)]
PathText = Annotated[str, AfterValidator(os.path.expanduser)]  # or a name, which stays as it is


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelSection(Section):
    """The policy that is trained."""

    path: PathText = Field(
        description="directory or hub name of a causal language model with its tokenizer"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of weights and activations"
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")


class TasksSection(Section):
    """Where problems come from."""

    source: str = Field(
        description="gsm8k, math, countdown, mbpp, code, jsonl (any file or data set), toy, "
        "toy_programs, toy_requests, a benchmark (aime24, aime25, gpqa, svamp, cmath, "
        "humaneval, livecodebench), or package:function"
    )
    path: PathText | None = Field(None, description="file, or name of a data set")
    split: str | None = Field(
        None, description="of a data set: train, test, train[:500]; of the toy: train, heldout"
    )
    columns: dict[str, str] = Field(
        {}, description="our column: the file's column, e.g. {prompt: question}"
    )
    num_tasks: PositiveInt | None = Field(None, description="use the first so many; null is all")


class MixedTasksSection(TasksSection):
    """A source beside others."""

    weight: PositiveInt = Field(
        1, description="its share: tasks of it among as many as all weights add up to"
    )
    from_step: NonNegativeInt = Field(0, description="the step from which on it is there")


class PromptSection(Section):
    """How a problem becomes the text that the model continues."""

    template: str = Field(
        "r1_zero", description="r1_zero, plain, chat, or text with {prompt} in it"
    )
    system: str | None = Field(None, description="system message; only with template: chat")
    prefill: str = Field("", description="text that begins the answer, e.g. '<think>\\n'")
    answer_style: Literal["zero", "r1"] = Field(
        "zero",
        description="of a right answer: <think> and <answer>, or <think> and a boxed summary",
    )


class RewardSection(BaseModel):
    """One reward: its weight and the function's own options beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    weight: float = Field(1.0, description="in the sum")
    only: dict[str, Any] = Field(
        default_factory=dict, description="column: value or list; it is called for these rows alone"
    )

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments for the function."""
        return dict(self.model_extra or {})


def _spelled_out(value: Any) -> Any:
    """`accuracy: 1.0` is short for `accuracy: {weight: 1.0}`."""
    return {"weight": value} if isinstance(value, int | float) else value


Rewards = dict[str, Annotated[RewardSection, BeforeValidator(_spelled_out)]]


class GenerationSection(Section):
    """How the engines write completions."""

    temperature: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] = Field(
        1.0, description="of sampling, and of the learner's log-probs; 0.01 is vLLM's least"
    )
    max_tokens: PositiveInt = Field(1024, description="longest completion, in tokens")
    max_prompt_tokens: PositiveInt = Field(
        1024, description="longest prompt, in tokens; longer is an error"
    )
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="strings that end a completion; they stay in its text"
    )
    stop_token_ids: list[NonNegativeInt] = Field(
        [], description="tokens that end a completion, beside those that the model's files name"
    )
    num_engines: PositiveInt = Field(1, description="vLLM engines")
    tensor_parallel: PositiveInt = Field(1, description="GPUs of one engine")
    max_concurrent: PositiveInt = Field(
        512, description="completions that one engine writes at a time"
    )
    kv_cache_gib: PositiveFloat = Field(1.0, description="memory of one engine's KV cache, in GiB")

    @property
    def max_model_tokens(self) -> int:
        """Longest prompt and completion together: what an engine has to read."""
        return self.max_prompt_tokens + self.max_tokens


class SamplingSection(GenerationSection):
    """How a stage without a learner writes: several completions of each task."""

    group_size: PositiveInt = Field(4, description="completions of one task (k)")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="only the likeliest tokens of this mass are drawn from"
    )


class RolloutSection(GenerationSection):
    """How GRPO's engines write: groups, and how far they may lag behind the learner."""

    tasks_per_step: PositiveInt = Field(
        32, description="groups in a step; a multiple of num_engines"
    )
    group_size: Annotated[int, Field(ge=2)] = Field(16, description="completions of one task (G)")
    num_minibatches: PositiveInt = Field(
        1,
        description="optimizer steps of one rollout batch, which is that many times larger: its "
        "completions are shuffled and each is used once; new weights go out after the last",
    )
    max_staleness: Annotated[int, Field(ge=0, le=8)] = Field(
        0,
        description="rollout batches written ahead; 0: on-policy, 1: write while the learner works; a "
        "completion's weights lag at most (max_staleness + 1) * num_minibatches - 1 steps",
    )
    max_tokens_from: dict[NonNegativeInt, PositiveInt] = Field(
        {},
        description="step: max_tokens from the first rollout batch on that begins there or later, "
        "e.g. {8200: 65536}",
    )

    @property
    def max_model_tokens(self) -> int:
        """Longest prompt and completion together, whatever the step."""
        return self.max_prompt_tokens + max(self.max_tokens, *self.max_tokens_from.values(), 0)

    def max_tokens_at(self, step: int) -> int:
        """The longest completion of a rollout batch whose training begins after `step` steps."""
        begun = [start for start in self.max_tokens_from if start <= step]
        return self.max_tokens_from[max(begun)] if begun else self.max_tokens


class LearnerSection(Section):
    """How DeepSpeed changes the weights."""

    num_ranks: PositiveInt = Field(1, description="data-parallel learner processes")
    zero_stage: Literal[0, 1, 2, 3] = Field(
        0, description="DeepSpeed ZeRO stage; in bfloat16 1 at least, to add gradients in float32"
    )
    lr: PositiveFloat = Field(1e-6, description="peak learning rate of AdamW")
    warmup_steps: NonNegativeInt = Field(
        0, description="steps of linear warm-up; constant after it"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="of AdamW")
    max_grad_norm: PositiveFloat = Field(1.0, description="gradients are clipped to this norm")
    token_budget: PositiveInt = Field(
        8192, description="computed tokens in a micro-batch, padding among them"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations: less memory, a third more time"
    )
    offload: bool = Field(
        False, description="optimizer states in host memory; zero_stage 1 or higher"
    )

    @model_validator(mode="after")
    def _offload_needs_zero(self) -> LearnerSection:
        if self.offload and self.zero_stage == 0:
            raise ValueError("offload: true needs zero_stage 1, 2 or 3 (it is 0)")
        return self


class LossSection(Section):
    """The objective."""

    name: Literal["grpo", "dr_grpo", "dapo"] = Field(
        "grpo", description="how token losses are averaged"
    )
    clip_low: Annotated[float, Field(gt=0)] = Field(
        0.2, description="ratio is clipped below 1 - clip_low"
    )
    clip_high: Annotated[float, Field(gt=0)] = Field(
        0.2, description="ratio is clipped above 1 + clip_high"
    )
    beta: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the KL term; 0 loads no reference"
    )
    replace_reference_every: PositiveInt | None = Field(
        None,
        description="steps between hard replacements of the reference by the policy; null is never",
    )

    @model_validator(mode="after")
    def _reference_needs_beta(self) -> LossSection:
        if self.replace_reference_every and self.beta == 0:
            raise ValueError(
                "replace_reference_every needs beta > 0 (without the KL term there is no reference)"
            )
        return self


class EvalSection(Section):
    """How progress is measured on held-out problems."""

    tasks: TasksSection | None = Field(None, description="held-out problems; null: no evaluation")
    every_steps: PositiveInt | None = Field(
        None, description="null: before the first and after the last step only"
    )
    samples_per_task: PositiveInt = Field(1, description="completions of one problem (k)")
    temperature: PositiveFloat = Field(1.0, description="of sampling")
    correct_by: str | None = Field(
        None, description="reward that says right or wrong; null: the first one"
    )


class CheckpointSection(Section):
    """What a run can go on from."""

    every_steps: PositiveInt = Field(
        50, description="steps between checkpoints; the last step makes one too"
    )
    keep: PositiveInt = Field(2, description="newest checkpoints that stay on disk")


class ChecksSection(Section):
    """Self-checks; a run that fails one stops with the reason."""

    max_mismatch_kl: PositiveFloat = Field(
        0.01,
        description="k3 of learner against engine where the weights are the same, in nats a token",
    )
    max_probe_error: PositiveFloat | None = Field(
        None,
        description="of log-probs on the probe text, in nats; null: 0.001, in bfloat16 0.5",
    )
    max_first_ratio_error: PositiveFloat | None = Field(
        None, description="of |ratio - 1| at the first step; null: 0.01, in bfloat16 not checked"
    )
    max_ungraded_frac: Frac = Field(
        0.2, description="of a step's completions that no reward could grade"
    )
    max_no_signal_steps: PositiveInt = Field(
        10, description="steps in a row in which no group has two rewards"
    )
    preflight_tasks: NonNegativeInt = Field(
        20_000,
        description="rows whose gold must earn full reward; 0 skips; of an endless source 256",
    )
    max_bad_golds: NonNegativeInt = Field(
        0, description="of these rows that may fail; they are named all the same"
    )


class ResourcesSection(Section):
    """Who gets which part of the machines, and how long a phase may take."""

    engine_gpus: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="GPUs of an engine; null: tensor_parallel where the cluster has GPUs, else 0",
    )
    learner_gpus: Annotated[float, Field(ge=0)] | None = Field(
        None, description="GPUs of a learner rank; null: 1 where the cluster has GPUs, else 0"
    )
    engine_threads: PositiveInt | None = Field(
        None, description="CPU threads of an engine; null: shared out"
    )
    learner_threads: PositiveInt | None = Field(
        None, description="CPU threads of a learner rank; null: shared out"
    )
    reward_workers: PositiveInt = Field(1, description="actors that grade")
    start_deadline_s: PositiveFloat = Field(900.0, description="until all actors stand, in seconds")
    phase_deadline_s: PositiveFloat = Field(
        3600.0,
        description="of a learner step, sync, grading or checkpoint, in seconds; of a rollout batch: "
        "until its next completions (one that goes on writing is not ended)",
    )


class SandboxSection(Section):
    """Where the programs of code rewards run."""

    min_tier: Literal["unsafe", "remote", "landlock", "namespaces"] = Field(
        "landlock", description="a run starts with this isolation or a better one (docs/sandbox.md)"
    )


class TrackersSection(Section):
    """Copies of metrics.jsonl for other tools; a tracker that fails never stops a run."""

    tensorboard: bool = Field(False, description="write event files to the run folder")
    wandb: bool = Field(
        False, description="send to Weights & Biases; its settings come from the environment"
    )
