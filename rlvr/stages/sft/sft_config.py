"""The recipe of supervised training, and of a reward model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlvr.config import StageConfig
from rlvr.config.sections import (
    CheckpointSection,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    PromptSection,
    Section,
    TrackersSection,
)
from rlvr.stages.sft.sft_presets import with_preset

__all__ = [
    "DeepSpeedSection",
    "DistillSection",
    "DomainSection",
    "LoraSection",
    "SftConfig",
    "SourceSection",
    "problems",
]

Frac = Annotated[float, Field(ge=0, lt=1)]


class SourceSection(Section):
    """One source of a mixture."""

    path: PathText = Field(description="file, or name of a data set")
    split: str | None = Field(None, description="train, train[:500]; of a file: [:500]")
    columns: dict[str, str] = Field({}, description="our column: the file's column")
    num_rows: PositiveInt | None = Field(None, description="use the first so many that fit")
    weight: PositiveFloat | None = Field(
        None, description="share of the mixture, to the other weights; null: all rows"
    )
    has_thought: bool | None = Field(
        None, description="true: only rows with a thought; false: only rows without one"
    )


class LoraSection(Section):
    """Low-rank adapters (Hu et al. 2021); the defaults are those of the QLoRA recipe."""

    r: PositiveInt = Field(16, description="rank")
    alpha: PositiveInt = Field(16, description="the update is scaled by alpha / r")
    dropout: Frac = Field(0.0, description="of the adapters' input")
    bias: Literal["none", "all", "lora_only"] = Field("none", description="biases that are trained")
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        description="names of the linear layers that get an adapter",
    )
    layers_to_transform: list[NonNegativeInt] | None = Field(
        None, description="numbers of the layers that get adapters; null: all"
    )
    rslora: bool = Field(False, description="scale by alpha / sqrt(r) instead")


class DeepSpeedSection(Section):
    """How DeepSpeed shares out and moves the training state."""

    zero_stage: Literal[0, 1, 2, 3] | None = Field(
        None, description="ZeRO stage; null: one process on one device, without DeepSpeed"
    )
    offload_optimizer: bool = Field(
        False, description="optimizer states in host memory; zero_stage 1, 2 or 3"
    )
    offload_param: bool = Field(False, description="weights in host memory; zero_stage 3 only")


class DistillSection(Section):
    """Learning from the logits of a teacher with the same tokenizer, beside the data."""

    model: PathText = Field(description="directory or hub name of the teacher")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="alpha * KL(teacher || student) + (1 - alpha) * cross-entropy"
    )
    temperature: PositiveFloat = Field(1.0, description="of both; KL times its square")


class DomainSection(Section):
    """Drawing rows so that small domains are seen more often."""

    column: str | None = Field(None, description="that names a row's domain; null: its source")
    temperature: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        2.0, description="a domain of n rows is drawn with n ** (1 / temperature); 1: as it is"
    )


class SftConfig(StageConfig):
    """Supervised training with TRL: a base, a cold start, an adapter, a student, a reward model."""

    stage: Literal["sft"] = Field("sft", description="which command the recipe is for")
    preset: str | None = Field(
        None,
        description="medical_qlora, open_r1_distill: values of keys that are left out",
    )
    model: PathText = Field(
        description="directory or hub name of the model to start from; toy: a new small one"
    )
    resume_from: PathText | None = Field(
        None, description="folder of an earlier run, whose weights or adapter are trained on"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the weights; on a GPU without DeepSpeed float32 computes in bfloat16",
    )
    load_in_4bit: bool = Field(False, description="QLoRA: frozen weights in 4 bit; needs a GPU")
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    eos_token: str | None = Field(
        None, description="that ends an answer, e.g. <|im_end|>; null: the tokenizer's"
    )
    head: Literal["lm", "scalar"] = Field(
        "lm", description="scalar: a reward model, from chosen and rejected, or from labels"
    )

    data: PathText | list[SourceSection] = Field(
        description="toy_text, toy_worked, a file or data set, or a list of sources"
    )
    split: str | None = Field(None, description="of data that is one path: train[:500], [:500]")
    columns: dict[str, str] = Field({}, description="of data that is one path: ours: the file's")
    num_rows: PositiveInt | None = Field(None, description="rows of the data; null: all")
    prompt: PromptSection = PromptSection()
    answer_template: str = Field(
        "<think>\n{reasoning_content}\n</think>\n\n{content}",
        description="how thought and answer become one text; {names} are columns",
    )
    thinking: bool | None = Field(
        None, description="the model is to think; null: where the prompt opens a thought"
    )
    no_thought: Literal["plain", "empty_block"] = Field(
        "plain", description="of rows without a thought: as they are, or behind an empty <think>"
    )
    learn_prompt: bool = Field(False, description="take the loss over the prompt as well")
    max_tokens: PositiveInt = Field(1024, description="of a row")
    too_long: Literal["cut", "drop"] = Field("cut", description="what happens to longer rows")
    packing: bool = Field(
        False, description="several rows in one sequence of max_tokens; none sees another"
    )
    domains: DomainSection | None = Field(None, description="draw rows by domain; null: each once")

    num_epochs: PositiveFloat | None = Field(None, description="passes over the rows; 1")
    max_steps: PositiveInt | None = Field(None, description="optimizer steps instead of num_epochs")
    batch_size: PositiveInt = Field(32, description="rows at a time, on each device")
    gradient_accumulation: PositiveInt = Field(1, description="batches in an optimizer step")
    optimizer: Literal["adamw", "adamw_8bit", "muon"] = Field(
        "adamw", description="adamw_8bit: on a CPU plain adamw; muon: for matrices, see matrix_lr"
    )
    lr: PositiveFloat = Field(1e-5, description="peak learning rate")
    matrix_lr: PositiveFloat | None = Field(
        None, description="peak learning rate of Muon for weight matrices; lr is for the others"
    )
    lr_schedule: Literal["cosine", "linear", "cosine_with_min_lr", "constant"] = Field(
        "cosine", description="after the warm-up"
    )
    min_lr_frac: Frac = Field(0.1, description="of lr, where cosine_with_min_lr ends")
    warmup_steps: NonNegativeInt | None = Field(None, description="steps of linear warm-up; 5")
    warmup_frac: Frac | None = Field(None, description="of all steps, instead of warmup_steps")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="of AdamW")
    max_grad_norm: PositiveFloat = Field(1.0, description="gradients are clipped to this norm")
    label_smoothing: Frac = Field(0.0, description="share of the target spread over the vocabulary")
    distill: DistillSection | None = Field(None, description="learn from a teacher's logits too")
    lora: LoraSection | None = Field(None, description="train adapters; null: all weights")
    gradient_checkpointing: bool | None = Field(
        None, description="recompute activations: less memory; null: on a GPU"
    )

    deepspeed: DeepSpeedSection = DeepSpeedSection()
    num_ranks: PositiveInt = Field(1, description="processes, each with a GPU of its own")
    threads: PositiveInt | None = Field(None, description="CPU threads of a rank; null: shared out")
    log_steps: PositiveInt = Field(50, description="steps between two lines of metrics.jsonl")
    checkpoint: CheckpointSection = CheckpointSection(every_steps=200)
    trackers: TrackersSection = TrackersSection()

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        return with_preset(data)

    @model_validator(mode="after")
    def _fits_together(self) -> SftConfig:
        if problem := next(problems(self), None):
            raise ValueError(problem)
        return self

    @property
    def sources(self) -> tuple[SourceSection, ...]:
        """The data as a list; empty for the toy world's own text."""
        if self.is_toy_data:
            return ()
        if isinstance(self.data, str):
            return (SourceSection(path=self.data, split=self.split, columns=self.columns),)
        return tuple(self.data)

    @property
    def is_toy_data(self) -> bool:
        """The toy world writes it."""
        return self.data in ("toy_text", "toy_worked")

    @property
    def uses_muon(self) -> bool:
        """`matrix_lr` alone says so too."""
        return self.optimizer == "muon" or self.matrix_lr is not None


def problems(config: SftConfig) -> Iterator[str]:
    """One line for each thing that does not fit, the plainest first."""
    yield from _of_lengths(config)
    yield from _of_data(config)
    yield from _of_optimizer(config)
    yield from _of_deepspeed(config)
    yield from _of_adapters(config)
    yield from _of_scalar_head(config)


def _of_lengths(config: SftConfig) -> Iterator[str]:
    if config.num_epochs is not None and config.max_steps is not None:
        yield (
            f"num_epochs: {config.num_epochs:g} and max_steps: {config.max_steps} exclude each "
            "other; leave one out"
        )
    if config.warmup_steps is not None and config.warmup_frac is not None:
        yield (
            f"warmup_steps: {config.warmup_steps} and warmup_frac: {config.warmup_frac:g} exclude "
            "each other; leave one out"
        )


def _of_data(config: SftConfig) -> Iterator[str]:
    if config.is_toy_data and config.num_rows is None:
        yield f"num_rows: {config.data} has no end; say how many rows, e.g. num_rows: 300"
    if config.is_toy_data and (config.split or config.columns):
        yield f"split and columns are of files; {config.data} has none"
    if not isinstance(config.data, str):
        yield from _of_sources(config)
    if config.packing and config.domains:
        yield "packing and domains exclude each other: a packed row has no domain of its own"
    if config.domains and config.domains.column is None and len(config.sources) < 2:
        yield "domains.column: name the column with a row's domain, or give two sources or more"


def _of_sources(config: SftConfig) -> Iterator[str]:
    if not config.sources:
        yield "data: an empty list; give one source at least"
    if config.split or config.columns:
        yield "split and columns: write them into the sources of data, each has its own"
    weighted = [source.weight is not None for source in config.sources]
    if any(weighted) and not all(weighted):
        yield "data: either every source has a weight or none has"
    if config.num_rows and not any(weighted) and len(config.sources) > 1:
        yield "num_rows: of a mixture it needs a weight for each source (or num_rows in each)"


def _of_optimizer(config: SftConfig) -> Iterator[str]:
    if config.optimizer == "muon" and config.matrix_lr is None:
        yield "matrix_lr: optimizer muon needs it, e.g. matrix_lr: 2.0e-2"
    if config.optimizer == "adamw_8bit" and config.matrix_lr is not None:
        yield "matrix_lr: is Muon's; leave it out with optimizer adamw_8bit"
    if config.uses_muon and (config.deepspeed.zero_stage or 0) > 0:
        yield (
            f"deepspeed.zero_stage: {config.deepspeed.zero_stage} flattens the matrices that Muon "
            "needs whole; take zero_stage 0 or optimizer adamw"
        )


def _of_deepspeed(config: SftConfig) -> Iterator[str]:
    section, stage = config.deepspeed, config.deepspeed.zero_stage
    if section.offload_param and stage != 3:
        yield (
            f"deepspeed.offload_param: true is valid with zero_stage 3 only (it is {stage}); leave "
            "it out or take zero_stage 3"
        )
    if section.offload_optimizer and not stage:
        yield (
            "deepspeed.offload_optimizer: true needs zero_stage 1, 2 or 3 "
            f"(it is {'null' if stage is None else stage})"
        )
    if stage is None and config.num_ranks > 1:
        yield f"num_ranks: {config.num_ranks} needs DeepSpeed; take deepspeed.zero_stage 0 to 3"
    if stage == 0 and config.dtype == "bfloat16":
        yield (
            "deepspeed.zero_stage: with dtype bfloat16 take 1, 2 or 3, where gradients add up in "
            "float32; or dtype float32, which computes in bfloat16 on a GPU all the same"
        )


def _of_adapters(config: SftConfig) -> Iterator[str]:
    if config.load_in_4bit and config.lora is None:
        yield "load_in_4bit: true needs adapters, for 4-bit weights cannot be trained; add lora: {}"
    if config.load_in_4bit and config.deepspeed.zero_stage is not None:
        yield "load_in_4bit: true goes without DeepSpeed; set deepspeed.zero_stage: null"
    if config.lora is not None and config.model in ("toy", "toy_small"):
        yield "lora: model toy is a new model; adapters need one that has learned something"
    if config.lora is not None and config.uses_muon:
        yield "lora: goes with optimizer adamw or adamw_8bit, not with muon"


def _of_scalar_head(config: SftConfig) -> Iterator[str]:
    if config.head == "lm":
        return
    refused = {
        "distill": config.distill,
        "label_smoothing": config.label_smoothing,
        "packing": config.packing,
        "domains": config.domains,
        "lora": config.lora,
        "load_in_4bit": config.load_in_4bit,
        "resume_from": config.resume_from,
        "matrix_lr": config.matrix_lr,
    }
    for key, value in refused.items():
        if value:
            yield f"{key}: is not for head scalar; leave it out"
    if config.is_toy_data:
        yield f"data: {config.data} has no preferences; head scalar needs chosen and rejected"
