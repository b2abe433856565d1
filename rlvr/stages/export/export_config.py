"""The recipe of `rlvr export`: a run's model as others take it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rlvr.config import StageConfig
from rlvr.config.sections import PathText, PositiveInt, Section

__all__ = ["ExportConfig", "GptqSection", "PushSection"]


class GptqSection(Section):
    """Quantized weights (Frantar et al. 2022); an extra that needs a GPU and gptqmodel."""

    bits: Literal[2, 3, 4, 8] = Field(4, description="of a weight")
    group_size: PositiveInt = Field(128, description="weights that share a scale")
    calibration: PathText = Field(description="rows with text or prompt, to calibrate on")
    num_rows: PositiveInt = Field(128, description="of the calibration rows")


class PushSection(Section):
    """Where on the hub it goes; the token comes from the environment (HF_TOKEN) or the login."""

    repo: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", description="owner/name on the hub"
    )
    private: bool = Field(True, description="only the owner sees it")
    dry_run: bool | None = Field(
        None, description="only list what would go; null: where there is no token"
    )


class ExportConfig(StageConfig):
    """From a run's folder to a model that loads without it, with a card that says what it is."""

    stage: Literal["export"] = Field("export", description="which command the recipe is for")
    run: PathText = Field(description="run folder, or a model's or adapter's folder")
    base: PathText | None = Field(
        None, description="model below an adapter; null: the one that the adapter names"
    )
    form: Literal["merged", "adapter"] = Field(
        "merged", description="one model; or the adapter as it is, for peft"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="of the saved weights"
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")
    gptq: GptqSection | None = Field(None, description="a quantized copy too")
    evals: list[PathText] = Field([], description="folders of evaluations, for the model card")
    license: str | None = Field(None, description="of the model, for the model card")
    push: PushSection | None = Field(None, description="upload to the hub; null: stay here")

    @model_validator(mode="after")
    def _gptq_is_of_a_merged_model(self) -> ExportConfig:
        if self.gptq is not None and self.form == "adapter":
            raise ValueError("gptq: quantizes a merged model; take form merged")
        return self
