"""`rlvr export`: find the run's model and check the recipe, then export it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rlvr.errors import ConfigError
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.export.export_config import ExportConfig
from rlvr.stages.export.gptq import check_gptq
from rlvr.stages.export.hub_upload import check_push

__all__ = ["STAGE", "ExportInputs", "check_export"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInputs:
    """The model to export: an adapter with its base, or a whole model.

    `ExportInputs(run=runs/a, adapter=runs/a/adapter, model=None, base="Qwen/Qwen3-8B")`
    """

    run: Path
    adapter: Path | None
    model: Path | None
    base: str | None  # folder or hub name of the model below the adapter


def check_export(config: ExportConfig) -> ExportInputs:
    """Find the model and check everything that `run_export` needs. Raises ConfigError."""
    run = Path(config.run)
    adapter = _folder_with(run, "adapter_config.json", "adapter")
    model = None if adapter else _folder_with(run, "config.json", "model")
    if adapter is None and model is None:
        raise ConfigError(f"run: {run} has neither adapter/ nor model/; name a finished run")
    base = config.base
    if adapter is not None and base is None:
        text = (adapter / "adapter_config.json").read_text(encoding="utf-8")
        base = json.loads(text).get("base_model_name_or_path")
        if not base:
            raise ConfigError(f"base: {adapter} does not name its base model; give one")
    if config.form == "adapter" and adapter is None:
        raise ConfigError(f"form: adapter; {run} holds a whole model, take form merged")
    for folder in config.evals:
        if not (Path(folder) / "summary.json").exists():
            raise ConfigError(f"evals: {folder} has no summary.json; give a finished evaluation")
    if config.gptq is not None:
        check_gptq()
    if config.push is not None:
        check_push(config.push)
    return ExportInputs(run=run, adapter=adapter, model=model, base=base)


def _folder_with(run: Path, file: str, name: str) -> Path | None:
    return next((path for path in (run / name, run) if (path / file).exists()), None)


def _run(config: ExportConfig, folder: RunFolder, inputs: ExportInputs) -> None:
    from rlvr.stages.export.export_model import run_export

    run_export(config, folder, inputs)


def _closing(config: ExportConfig, folder: RunFolder) -> str:
    final = folder.model if config.form == "merged" else folder.path / "adapter"
    difference = read_json(folder.summary)["max_logit_diff"]
    return f"{final}: its logits differ from the run's by {difference:.2g}"


STAGE = Stage(
    schema=ExportConfig, check=check_export, run=_run, closing=_closing, needs_environment=False
)
