"""The one schema of a run: what a recipe may say, what each key means, and its defaults.

A recipe is YAML; `a.b=c` on the command line overrides it. Unknown keys are refused with the
nearest known name, and every error says which file, which key, which value, what is allowed. Free
of torch and Ray, so that a mistake is answered in well under a second.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlvr.errors import ConfigError

__all__ = [
    "CheckpointSection",
    "EvalSection",
    "GatesSection",
    "GrpoConfig",
    "LearnerSection",
    "LossSection",
    "ModelSection",
    "PromptSection",
    "ResourcesSection",
    "RewardSection",
    "RolloutSection",
    "SftConfig",
    "TasksSection",
    "TrackersSection",
    "load_config",
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
        description="gsm8k, math, countdown, jsonl (any file or data set), toy, or package:function"
    )
    path: PathText | None = Field(None, description="file, or name of a data set")
    split: str | None = Field(
        None, description="of a data set: train, test, train[:500]; of the toy: train, heldout"
    )
    columns: dict[str, str] = Field(
        {}, description="our column: the file's column, e.g. {prompt: question}"
    )
    num_tasks: PositiveInt | None = Field(None, description="use the first so many; null is all")


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

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments for the function."""
        return dict(self.model_extra or {})


class RolloutSection(Section):
    """How the engines write completions."""

    tasks_per_step: PositiveInt = Field(
        32, description="groups in a step; a multiple of num_engines"
    )
    group_size: Annotated[int, Field(ge=2)] = Field(16, description="completions of one task (G)")
    max_staleness: Annotated[int, Field(ge=0, le=8)] = Field(
        0,
        description="versions a completion may lag; 0: on-policy, 1: write while the learner works",
    )
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


class GatesSection(Section):
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
        description="of a learner step, sync, grading or checkpoint, in seconds; of a harvest: "
        "until its next completions (one that goes on writing is not ended)",
    )


class TrackersSection(Section):
    """Copies of metrics.jsonl for other tools; a tracker that fails never stops a run."""

    tensorboard: bool = Field(False, description="write event files to the run folder")
    wandb: bool = Field(
        False, description="send to Weights & Biases; its settings come from the environment"
    )


class GrpoConfig(Section):
    """A GRPO run."""

    stage: Literal["grpo"] = Field("grpo", description="which command the recipe is for")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run folder")
    output_dir: PathText = Field("runs", description="the run folder is output_dir/name")
    seed: NonNegativeInt = Field(0, description="of everything that is drawn")
    num_steps: PositiveInt = Field(description="optimizer steps")
    model: ModelSection
    tasks: TasksSection
    prompt: PromptSection = PromptSection()
    rewards: dict[str, RewardSection] = Field(
        description="name or pkg.module:function: weight and options"
    )
    rollout: RolloutSection = RolloutSection()
    learner: LearnerSection = LearnerSection()
    loss: LossSection = LossSection()
    eval: EvalSection = EvalSection()
    checkpoint: CheckpointSection = CheckpointSection()
    gates: GatesSection = GatesSection()
    resources: ResourcesSection = ResourcesSection()
    trackers: TrackersSection = TrackersSection()

    @model_validator(mode="before")
    @classmethod
    def _plain_weights(cls, data: Any) -> Any:
        """`accuracy: 1.0` is short for `accuracy: {weight: 1.0}`."""
        rewards = data.get("rewards") if isinstance(data, dict) else None
        if not isinstance(rewards, dict):
            return data
        spelled = {
            k: {"weight": v} if isinstance(v, int | float) else v for k, v in rewards.items()
        }
        return {**data, "rewards": spelled}

    @model_validator(mode="after")
    def _rewards_are_there(self) -> GrpoConfig:
        if not any(reward.weight for reward in self.rewards.values()):
            raise ValueError("rewards: at least one reward with a weight that is not 0 is needed")
        return self

    @model_validator(mode="after")
    def _groups_divide_over_engines(self) -> GrpoConfig:
        tasks, engines = self.rollout.tasks_per_step, self.rollout.num_engines
        if tasks % engines:
            lower = tasks // engines * engines
            would_do = " or ".join(str(n) for n in (lower, lower + engines) if n)
            raise ValueError(
                f"rollout.tasks_per_step: {tasks} groups cannot be divided over "
                f"rollout.num_engines: {engines}; "
                f"{would_do} would do"
            )
        return self

    @model_validator(mode="after")
    def _correct_by_is_a_reward(self) -> GrpoConfig:
        if self.eval.correct_by not in (None, *self.rewards):
            raise ValueError(
                f"eval.correct_by: {self.eval.correct_by!r} is none of the rewards: "
                + ", ".join(self.rewards)
            )
        return self

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.output_dir) / self.name


class SftConfig(Section):
    """Supervised training with TRL's SFTTrainer: pretraining of the toy base, and cold start."""

    stage: Literal["sft"] = Field("sft", description="which command the recipe is for")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the run folder")
    output_dir: PathText = Field("runs", description="the run folder is output_dir/name")
    seed: NonNegativeInt = Field(0, description="of everything that is drawn")
    model: PathText = Field(
        description="directory or hub name of the model to start from; toy: a new small one"
    )
    data: PathText = Field(
        description="toy_text, toy_worked, or a JSONL file with prompt and completion, or with text"
    )
    num_rows: PositiveInt = Field(description="rows of the data")
    num_epochs: PositiveFloat = Field(1.0, description="passes over the rows")
    lr: PositiveFloat = Field(1e-5, description="peak learning rate of AdamW; cosine to 0")
    matrix_lr: PositiveFloat | None = Field(
        None, description="peak learning rate of Muon for weight matrices; null: AdamW for all"
    )
    warmup_steps: NonNegativeInt = Field(5, description="steps of linear warm-up")
    batch_size: PositiveInt = Field(32, description="rows in an optimizer step")
    max_tokens: PositiveInt = Field(1024, description="of a row; longer ones are cut")
    threads: PositiveInt | None = Field(None, description="CPU threads; null: all cores")
    prompt: PromptSection = PromptSection()

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.output_dir) / self.name


ConfigT = TypeVar("ConfigT", GrpoConfig, SftConfig)


def load_config(schema: type[ConfigT], path: Path | str, overrides: Sequence[str] = ()) -> ConfigT:
    """Read a recipe, apply `a.b=c` overrides, check everything.

    Raises:
        ConfigError: with one line that names file, key, value and what is allowed.
    """
    path = Path(path)
    data = _read_yaml(path)
    for override in overrides:
        _apply_override(data, override)
    stage = schema.model_fields["stage"].default
    if data.get("stage", stage) != stage:
        raise ConfigError(f"{path}: stage is {data['stage']!r}; this command runs stage: {stage}")
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_describe(error, schema, data)}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such recipe; `ls recipes/*` lists those that come along"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{where}: not valid YAML: {getattr(error, 'problem', error)}"
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: a recipe is a mapping of keys to values, not {type(data).__name__}"
        )
    return data


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: an override has the form section.key=value")
    *parents, last = key.split(".")
    node = data
    for parent in parents:
        child = node.setdefault(parent, {})
        if (
            isinstance(child, int | float) and parents[0] == "rewards"
        ):  # `accuracy: 1.0` is short for a mapping
            child = node[parent] = {"weight": child}
        if not isinstance(child, dict):
            raise ConfigError(f"{override!r}: {parent} is a value, not a section")
        node = child
    node[last] = _scalar(text)


def _scalar(text: str) -> Any:
    """A value as YAML reads it, but `1e-5` is a number, as people expect (YAML 1.1: text)."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return _number(value) if isinstance(value, str) else value


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _describe(error: ValidationError, schema: type[Section], data: Mapping[str, Any]) -> str:
    """The first problem of a validation, in one line; a misspelt key before a missing one."""
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(schema, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"unknown key {key}; {hint}{more}"
    if first["type"] == "missing":
        return f"{key} is missing; add it to the recipe or give {key}=VALUE{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return message + more
    return f"{key}: {first['input']!r} is not allowed: {message}{more}"


def _known_keys(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        field = schema.model_fields.get(part)
        annotation = field.annotation if field else None
        arguments = [annotation, *getattr(annotation, "__args__", ())]
        sections = [a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)]
        if not sections:
            return []
        schema = sections[0]
    return list(schema.model_fields)
