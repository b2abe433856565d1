"""`rlvr export`: a run's model, merged or as an adapter, with a card, optionally pushed to the hub.

runs/SFT/adapter + base --merge--> model/ (16 or 32 bit, loads without peft)   or  adapter/
                            |  a difference of the logits beyond rounding stops the export
manifests, summaries -------+----> README.md            --> hub (or a dry run)
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.cluster.processes import actor_env
from rlvr.data.model_copy import MODEL_COPY, hold_model, remove_copy
from rlvr.data.model_files import below_adapter, is_adapter, resolve_model
from rlvr.data.rows import read_rows
from rlvr.errors import ConfigError
from rlvr.run.checkpoints import checkpoint_of, run_of
from rlvr.run.continuation import write_manifest
from rlvr.run.manifest import make_manifest
from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.export.export_config import ExportConfig, GptqSection
from rlvr.stages.export.hub_upload import check_push, push_folder, render_card
from rlvr.stages.sft.ranks import has_gpu, training_process

__all__ = ["STAGE", "ExportInputs", "check_export", "run_export"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInputs:
    """The model to export: an adapter with its base, or a whole model.

    `ExportInputs(run=runs/a, adapter=runs/a/adapter, model=None, base="Qwen/Qwen3-8B")`
    """

    run: Path  # for the card; of a checkpoint its run, of another model its own folder
    adapter: Path | None
    model: Path | None
    base: str | None  # folder or hub name of the model below the adapter


def check_export(config: ExportConfig) -> ExportInputs:
    """Find the model and check everything that `run_export` needs. Raises ConfigError."""
    found = Path(resolve_model(config.run, key="run"))
    adapter = found if is_adapter(str(found)) else None
    model = found if (found / "config.json").exists() else None
    if adapter is None and model is None:
        raise ConfigError(f"run: {found} has neither adapter/ nor model/; name a run or a model")
    base = config.base
    if adapter is not None and base is None:
        base = below_adapter(str(adapter), key="base")
    if config.form == "adapter" and adapter is None:
        raise ConfigError(f"form: adapter; {found} holds a whole model, use form: merged")
    for folder in config.evals:
        if not (Path(folder) / "summary.json").exists():
            raise ConfigError(f"evals: {folder} has no summary.json; give a finished evaluation")
    if config.gptq is not None:
        _check_gptq()
    if config.push is not None:
        check_push(config.push)
    return ExportInputs(run=run_of(found) or found, adapter=adapter, model=model, base=base)


def run_export(config: ExportConfig, folder: RunFolder, inputs: ExportInputs) -> None:
    """Write model/ or adapter/ with its card, then summary.json. Raises RLVRError."""
    files = {"run": str(inputs.adapter or inputs.model)}
    if inputs.base:
        files["base"] = inputs.base
    write_manifest(folder, make_manifest(config, inputs=files))
    final = folder.model if config.form == "merged" else folder.path / "adapter"
    temporary = folder.path / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    threads = len(os.sched_getaffinity(0))
    env = actor_env(num_threads=threads, is_cpu=not has_gpu())
    with training_process({**env, "TRANSFORMERS_VERBOSITY": "error"}):
        from rlvr.stages.export.merge_adapters import copy_adapter, save_whole  # imports torch

        save = copy_adapter if config.form == "adapter" else save_whole
        measured = save(config, _held(config, inputs, folder), temporary)
    source = inputs.adapter or inputs.model
    is_final = source is None or checkpoint_of(source) is None
    card = render_card(config, inputs.run, base=inputs.base, measured=measured, is_final=is_final)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    summary: dict[str, Any] = {"form": config.form, **measured}
    if config.gptq is not None:
        summary["gptq"] = _quantize(final, folder.path / "gptq", config.gptq)
    if config.push is not None:
        summary["push"] = push_folder(final, config.push)
    write_json(folder.summary, summary)
    remove_copy(folder.path / MODEL_COPY)


def _held(config: ExportConfig, inputs: ExportInputs, folder: RunFolder) -> ExportInputs:
    """Return the inputs with a whole model that its run does not delete meanwhile."""
    if inputs.model is None:
        return inputs
    return replace(
        inputs, model=Path(hold_model(config.run, copy=folder.path / MODEL_COPY, key="run"))
    )


def _check_gptq() -> None:
    if importlib.util.find_spec("gptqmodel") is None:
        raise ConfigError(
            "gptq: gptqmodel is not installed; `pip install gptqmodel` on a machine with an NVIDIA "
            "GPU, or leave gptq out"
        )
    if not has_gpu():
        raise ConfigError("gptq: requires an NVIDIA GPU, and this machine has none; leave gptq out")


def _quantize(model: Path, final: Path, section: GptqSection) -> dict[str, Any]:
    """Write a copy quantized by GPTQ (arXiv 2210.17323); return its entry for the summary."""
    from gptqmodel import GPTQModel, QuantizeConfig  # type: ignore[import-not-found]

    rows = read_rows(
        section.calibration, split=f"[:{section.num_rows}]", section="gptq.calibration"
    )
    texts = [str(row.values.get("text") or row.values.get("prompt")) for row in rows]
    settings = QuantizeConfig(bits=section.bits, group_size=section.group_size)
    quantized = GPTQModel.load(str(model), settings)
    quantized.quantize(texts)
    quantized.save(str(final))
    return {"bits": section.bits, "group_size": section.group_size, "num_rows": len(texts)}


def _closing(config: ExportConfig, folder: RunFolder) -> str:
    final = folder.model if config.form == "merged" else folder.path / "adapter"
    difference = read_json(folder.summary)["max_logit_diff"]
    return f"{final}: its logits differ from the run's by {difference:.2g}"


STAGE = Stage(
    schema=ExportConfig,
    check=check_export,
    run=run_export,
    closing=_closing,
    needs_environment=False,
)
