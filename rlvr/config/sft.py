"""The recipe of supervised training, and of a reward model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

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
from rlvr.config.sft_checks import problems
from rlvr.config.sft_presets import with_preset
from rlvr.config.stage import StageConfig

__all__ = [
    "DeepSpeedSection",
    "DistillSection",
    "DomainSection",
    "LoraSection",
    "SftConfig",
    "SourceSection",
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
