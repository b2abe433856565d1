"""The recipe of supervised training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlvr.config.sections import (
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    PromptSection,
)
from rlvr.config.stage import StageConfig

__all__ = ["SftConfig"]


class SftConfig(StageConfig):
    """Supervised training with TRL's SFTTrainer: pretraining of the toy base, and cold start."""

    stage: Literal["sft"] = Field("sft", description="which command the recipe is for")
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
