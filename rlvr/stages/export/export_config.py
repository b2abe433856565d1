"""The recipe of `rlvr export`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rlvr.config import StageConfig
from rlvr.config.changes import Free
from rlvr.config.sections import PathText, PositiveInt, Section

__all__ = ["ExportConfig", "GptqSection", "PushSection"]


class GptqSection(Section):
    """Quantized weights (Frantar et al. 2022); requires a GPU and gptqmodel."""

    bits: Literal[2, 3, 4, 8] = Field(4, description="per weight")
    group_size: PositiveInt = Field(128, description="weights that share a scale")
    calibration: PathText = Field(description="calibration rows with text or prompt")
    num_rows: PositiveInt = Field(128, description="number of calibration rows")


class PushSection(Section):
    """An upload to the hub; the token comes from the environment (HF_TOKEN) or the login."""

    repo: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", description="owner/name on the hub"
    )
    private: bool = Field(True, description="visible to its owner only")
    dry_run: bool | None = Field(
        None, description="only list the files; null: if there is no token"
    )


class ExportConfig(StageConfig):
    """A model that loads without the run folder, with a model card."""

    stage: Literal["export"] = Field("export", description="which command the recipe is for")
    run: PathText = Field(description="run, run@step, or folder of a model or adapter")
    base: PathText | None = Field(
        None, description="model below an adapter; null: the one named in the adapter"
    )
    form: Literal["merged", "adapter"] = Field(
        "merged", description="one merged model, or the adapter for peft"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="of the saved weights"
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    gptq: GptqSection | None = Field(None, description="adds a quantized copy")
    evals: Free[list[PathText]] = Field(
        [], description="folders of evaluations, for the model card"
    )
    license: Free[str | None] = Field(None, description="of the model, for the model card")
    push: Free[PushSection | None] = Field(None, description="upload to the hub; null: none")

    @model_validator(mode="after")
    def _gptq_needs_a_merged_model(self) -> ExportConfig:
        if self.gptq is not None and self.form == "adapter":
            raise ValueError("gptq: quantizes a merged model; use form: merged")
        return self
