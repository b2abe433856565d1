"""The recipe of `rlvr sft`: supervised fine-tuning, or the training of a reward model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from rlvr.config import StageConfig
from rlvr.config.changes import Free, Neutral
from rlvr.config.sections import (
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    PromptSection,
    Section,
)
from rlvr.config.training_sections import CheckpointSection, TrackersSection

__all__ = [
    "TOY_MODELS",
    "DeepSpeedSection",
    "DistillSection",
    "DomainSection",
    "LoraSection",
    "SftConfig",
    "SourceSection",
    "load_presets",
]

FracBelowOne = Annotated[float, Field(ge=0, lt=1)]

TOY_MODELS = ("toy", "toy_small")  # sizes of rlvr.toy.toy_model
TOY_DATA = ("toy_text", "toy_worked")
EXCLUSIVE = (("num_epochs", "max_steps"), ("warmup_steps", "warmup_frac"))


class SourceSection(Section):
    """One source of a mixture."""

    path: PathText = Field(description="file, or name of a data set")
    split: str | None = Field(None, description="train, train[:500]; of a file: [:500]")
    columns: dict[str, str] = Field({}, description="name in rlvr: column of the file")
    num_rows: PositiveInt | None = Field(None, description="use the first num_rows that fit")
    weight: PositiveFloat | None = Field(None, description="share of the mixture; null: all rows")
    has_thought: bool | None = Field(None, description="only rows with (true) or without reasoning")


class LoraSection(Section):
    """Low-rank adapters (Hu et al. 2021); the defaults are those of the QLoRA recipe."""

    r: PositiveInt = Field(16, description="rank")
    alpha: PositiveInt = Field(16, description="the update is scaled by alpha / r")
    dropout: FracBelowOne = Field(0.0, description="dropout on the adapters' input")
    bias: Literal["none", "all", "lora_only"] = Field("none", description="biases to train")
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        description="names of the linear layers that get an adapter",
    )
    layers_to_transform: list[NonNegativeInt] | None = Field(
        None, description="indices of the layers that get adapters; null: all"
    )
    rslora: bool = Field(False, description="scale by alpha / sqrt(r) instead")


class DeepSpeedSection(Section):
    """Sharding and offloading by DeepSpeed."""

    zero_stage: Literal[0, 1, 2, 3] | None = Field(
        None, description="ZeRO stage; null: one process on one device, without DeepSpeed"
    )
    offload_optimizer: bool = Field(False, description="moments in host memory; zero_stage 1 to 3")
    offload_param: bool = Field(False, description="weights in host memory; zero_stage 3 only")


class DistillSection(Section):
    """Distillation from the logits of a teacher with the same tokenizer."""

    model: PathText = Field(description="directory or hub name of the teacher")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="alpha * KL(teacher || student) + (1 - alpha) * cross-entropy"
    )
    temperature: PositiveFloat = Field(1.0, description="of both; KL is scaled by its square")


class DomainSection(Section):
    """Sampling of rows that shows small domains more often."""

    column: str | None = Field(None, description="with a row's domain; null: its source")
    temperature: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        2.0, description="draw a domain of n rows with n ** (1 / temperature); 1: by size"
    )


class SftConfig(StageConfig):
    """Supervised training with TRL: a base, a cold start, an adapter, a student, a reward model."""

    stage: Literal["sft"] = Field("sft", description="command that runs the recipe")
    preset: str | None = Field(None, description="medical_qlora or open_r1_distill: default values")
    model: PathText = Field(
        description="directory, hub name, run, run@step or adapter (merged first); toy, toy_small: "
        "a new model"
    )
    resume_from: PathText | None = Field(None, description="run or run@step to train further")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the weights; on a GPU without DeepSpeed float32 computes in bfloat16",
    )
    load_in_4bit: bool = Field(False, description="QLoRA: frozen weights in 4 bit; needs a GPU")
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    eos_token: str | None = Field(None, description="token that ends an answer, e.g. <|im_end|>")
    head: Literal["lm", "scalar"] = Field("lm", description="scalar: train a reward model")

    data: PathText | list[SourceSection] = Field(
        description="toy_text, toy_worked, a file or data set, or a list of sources"
    )
    split: str | None = Field(None, description="of data that is one path: train[:500], [:500]")
    columns: dict[str, str] = Field({}, description="for a single path, our column: the file's")
    num_rows: PositiveInt | None = Field(None, description="rows to train on; null: all")
    prompt: PromptSection = PromptSection()
    answer_template: str = Field(
        "<think>\n{reasoning_content}\n</think>\n\n{content}",
        description="joins reasoning and answer into one text; {names} are columns",
    )
    thinking: bool | None = Field(None, description="expect reasoning; null: as the prompt does")
    no_thought: Literal["plain", "empty_block"] = Field(
        "plain", description="rows without reasoning: unchanged, or after an empty <think> block"
    )
    learn_prompt: bool = Field(False, description="include the prompt in the loss")
    max_tokens: PositiveInt = Field(1024, description="maximum length of a row")
    too_long: Literal["cut", "drop"] = Field("cut", description="how longer rows are treated")
    packing: bool = Field(False, description="several rows in one sequence; none attends to others")
    domains: DomainSection | None = Field(None, description="sample by domain; null: each row once")

    num_epochs: Free[PositiveFloat | None] = Field(None, description="passes over the rows; 1")
    max_steps: Free[PositiveInt | None] = Field(
        None, description="optimizer steps instead of num_epochs"
    )
    batch_size: PositiveInt = Field(32, description="rows per device and backward pass")
    gradient_accumulation: PositiveInt = Field(1, description="backward passes per optimizer step")
    optimizer: Literal["adamw", "adamw_8bit", "muon"] = Field(
        "adamw", description="adamw_8bit: plain adamw on a CPU; muon: for matrices, see matrix_lr"
    )
    lr: Free[PositiveFloat] = Field(1e-5, description="peak learning rate")
    matrix_lr: PositiveFloat | None = Field(None, description="peak for Muon's weight matrices")
    lr_schedule: Free[Literal["cosine", "linear", "cosine_with_min_lr", "constant"]] = Field(
        "cosine", description="after the warm-up"
    )
    min_lr_frac: Free[FracBelowOne] = Field(
        0.1, description="of lr, at the end of cosine_with_min_lr"
    )
    warmup_steps: Free[NonNegativeInt | None] = Field(
        None, description="steps of linear warm-up; 5"
    )
    warmup_frac: Free[FracBelowOne | None] = Field(
        None, description="of all steps, or warmup_steps"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="of AdamW")
    max_grad_norm: Free[PositiveFloat] = Field(
        1.0, description="gradients are clipped to this norm"
    )
    label_smoothing: FracBelowOne = Field(0.0, description="fraction spread over the vocabulary")
    distill: DistillSection | None = Field(None, description="also learn from a teacher's logits")
    lora: LoraSection | None = Field(None, description="train adapters; null: all weights")
    gradient_checkpointing: Neutral[bool | None] = Field(
        None, description="recompute activations to save memory; null: on a GPU"
    )

    deepspeed: DeepSpeedSection = DeepSpeedSection()
    num_ranks: PositiveInt = Field(1, description="processes, each with its own GPU")
    cpu_ranks: Neutral[PositiveInt] = Field(
        1, description="on a CPU, processes that share the rows of a batch, with a core each"
    )
    threads: Neutral[PositiveInt | None] = Field(
        None, description="CPU threads per rank; null: equal share"
    )
    log_steps: Neutral[PositiveInt] = Field(
        50, description="steps between two lines of metrics.jsonl"
    )
    samples: Neutral[NonNegativeInt] = Field(
        0, description="rows whose start the trained model continues at the end, to be printed"
    )
    checkpoint: Neutral[CheckpointSection] = CheckpointSection(every_steps=200)
    trackers: Neutral[TrackersSection] = TrackersSection()

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, recipe: Any) -> Any:
        name = recipe.get("preset") if isinstance(recipe, dict) else None
        return recipe if name is None else _with_preset(recipe, name)

    @model_validator(mode="after")
    def _check_combinations(self) -> SftConfig:
        if problem := next(_problems(self), None):
            raise ValueError(problem)
        return self

    @property
    def sources(self) -> tuple[SourceSection, ...]:
        """The data as a list; empty for the toy corpora."""
        if self.data in TOY_DATA:
            return ()
        if isinstance(self.data, str):
            return (SourceSection(path=self.data, split=self.split, columns=self.columns),)
        return tuple(self.data)


def load_presets() -> dict[str, dict[str, Any]]:
    """Load the values of each preset by name."""
    path = Path(__file__).with_name("presets.yaml")
    presets: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return presets


def _with_preset(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    presets = load_presets()
    if name not in presets:
        raise ValueError(f"preset: {name!r} is not known; allowed: {', '.join(sorted(presets))}")
    preset = presets[name]
    for pair in EXCLUSIVE:
        if any(key in recipe for key in pair):  # the recipe's choice of the two applies
            preset = {key: value for key, value in preset.items() if key not in pair}
    merged = {**preset, **recipe}
    for key, value in recipe.items():
        if isinstance(value, dict) and isinstance(preset.get(key), dict):  # a section
            merged[key] = {**preset[key], **value}
    return merged


def _problems(config: SftConfig) -> Iterator[str]:
    """One line for each combination of keys that is not allowed, the simplest first."""
    for keys in EXCLUSIVE:
        first, second = (getattr(config, key) for key in keys)
        if first is not None and second is not None:
            yield (
                f"{keys[0]}: {first:.12g} and {keys[1]}: {second:.12g} cannot both be set; "
                "remove one"
            )
    if config.checkpoint.keep.best:
        yield "checkpoint.keep.best: `rlvr sft` has no held-out evaluation; use last and every"
    yield from _data_problems(config)
    yield from _training_problems(config)
    if config.head == "scalar":
        yield from _scalar_head_problems(config)


def _data_problems(config: SftConfig) -> Iterator[str]:
    sources = config.sources
    if config.data in TOY_DATA:
        if config.num_rows is None:
            yield f"num_rows: {config.data} is endless; set the number of rows, e.g. num_rows: 300"
        if config.split or config.columns:
            yield f"split and columns are for files; {config.data} is not one"
    elif not isinstance(config.data, str):
        if not sources:
            yield "data: an empty list; give at least one source"
        if config.split or config.columns:
            yield "split and columns: write them into the sources of data, each has its own"
        has_weight = [source.weight is not None for source in sources]
        if any(has_weight) and not all(has_weight):
            yield "data: either every source has a weight or none has"
        if config.num_rows and not any(has_weight) and len(sources) > 1:
            yield "num_rows: a mixture needs a weight for each source (or num_rows in each)"
    if config.packing and config.domains:
        yield "packing and domains exclude each other: a packed row has no single domain"
    if config.domains and config.domains.column is None and len(sources) < 2:
        yield "domains.column: name the column with a row's domain, or give two sources or more"


def _training_problems(config: SftConfig) -> Iterator[str]:
    has_lora, has_muon = config.lora is not None, config.matrix_lr is not None
    section, stage = config.deepspeed, config.deepspeed.zero_stage
    shown = "null" if stage is None else stage
    if config.optimizer == "muon" and not has_muon:
        yield "matrix_lr: optimizer muon needs it, e.g. matrix_lr: 2.0e-2"
    if config.optimizer == "adamw_8bit" and has_muon:
        yield "matrix_lr: belongs to Muon; leave it out with optimizer adamw_8bit"
    if has_muon and stage:
        yield (
            f"deepspeed.zero_stage: {stage} flattens the matrices that Muon needs whole; use "
            "zero_stage 0 or optimizer adamw"
        )
    if config.samples and stage == 3:
        yield "samples: a model whose weights are sharded (zero_stage 3) writes none; leave it out"
    if section.offload_param and stage != 3:
        yield (
            f"deepspeed.offload_param: true is valid with zero_stage 3 only (it is {shown}); "
            "leave it out or use zero_stage 3"
        )
    if section.offload_optimizer and not stage:
        yield f"deepspeed.offload_optimizer: true needs zero_stage 1, 2 or 3 (it is {shown})"
    if stage is None and config.num_ranks > 1:
        yield f"num_ranks: {config.num_ranks} needs DeepSpeed; set deepspeed.zero_stage to 0 to 3"
    yield from _cpu_rank_problems(config)
    if stage == 0 and config.dtype == "bfloat16":
        yield (
            "deepspeed.zero_stage: with dtype bfloat16 use 1, 2 or 3, where gradients accumulate "
            "in float32; or dtype float32, which still computes in bfloat16 on a GPU"
        )
    if config.load_in_4bit and not has_lora:
        yield "load_in_4bit: true needs adapters, since 4-bit weights are frozen; add lora: {}"
    if config.load_in_4bit and stage is not None:
        yield "load_in_4bit: true does not work with DeepSpeed; set deepspeed.zero_stage: null"
    if has_lora and config.model in TOY_MODELS:
        yield f"lora: model {config.model} is untrained; adapters need a trained model"
    if has_lora and has_muon:
        yield "lora: works with optimizer adamw or adamw_8bit, not with muon"


def _cpu_rank_problems(config: SftConfig) -> Iterator[str]:
    num_ranks = config.cpu_ranks
    if num_ranks > 1 and (config.num_ranks > 1 or config.deepspeed.zero_stage is not None):
        yield (
            f"cpu_ranks: {num_ranks} is for training without DeepSpeed; set num_ranks: 1 and "
            "deepspeed.zero_stage: null, or leave it out"
        )
    if config.batch_size % num_ranks:
        yield f"batch_size: {config.batch_size} rows cannot be shared by cpu_ranks: {num_ranks}"


def _scalar_head_problems(config: SftConfig) -> Iterator[str]:
    keys = "samples distill label_smoothing packing domains lora load_in_4bit resume_from matrix_lr"
    for key in keys.split():
        if getattr(config, key):
            yield f"{key}: is not for head scalar; leave it out"
    if config.data in TOY_DATA:
        yield f"data: {config.data} has no preferences; head scalar needs chosen and rejected"
