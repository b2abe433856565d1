"""Export a run's model: merged or as an adapter, with a card, optionally pushed to the hub.

runs/SFT/adapter + base --merge--> model/ (16 or 32 bit, loads without peft)   or  adapter/
                            |  a difference of the logits beyond rounding stops the export
manifests, summaries -------+----> README.md            --> hub (or a dry run)
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from rlvr.cluster.processes import actor_env
from rlvr.run.manifest import make_manifest
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.stages.export.export_config import ExportConfig
from rlvr.stages.export.export_stage import ExportInputs
from rlvr.stages.export.gptq import quantize
from rlvr.stages.export.hub_upload import push_folder
from rlvr.stages.export.model_card import render_card
from rlvr.stages.sft.ranks import has_gpu, training_process

__all__ = ["run_export"]


def run_export(config: ExportConfig, folder: RunFolder, inputs: ExportInputs) -> None:
    """Write model/ or adapter/ with its card, then summary.json. Raises RLVRError."""
    files = {"run": str(inputs.adapter or inputs.model)}
    if inputs.base:
        files["base"] = inputs.base
    write_json(folder.manifest, make_manifest(config, inputs=files))
    final = folder.model if config.form == "merged" else folder.path / "adapter"
    temporary = folder.path / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    threads = len(os.sched_getaffinity(0))
    env = actor_env(num_threads=threads, is_cpu=not has_gpu())
    with training_process({**env, "TRANSFORMERS_VERBOSITY": "error"}):
        measured = _save(config, inputs, temporary)
    card = render_card(config, inputs.run, base=inputs.base, measured=measured)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    summary: dict[str, Any] = {"form": config.form, **measured}
    if config.gptq is not None:
        summary["gptq"] = quantize(final, folder.path / "gptq", config.gptq)
    if config.push is not None:
        summary["push"] = push_folder(final, config.push)
    write_json(folder.summary, summary)


def _save(config: ExportConfig, inputs: ExportInputs, final: Path) -> dict[str, Any]:
    # imports torch, under the environment of training_process
    from rlvr.stages.export.merge_adapters import copy_adapter, save_whole

    if config.form == "adapter":
        assert inputs.adapter is not None and inputs.base is not None
        return copy_adapter(
            inputs.adapter, inputs.base, final, trust_remote_code=config.trust_remote_code
        )
    return save_whole(
        model=str(inputs.model or inputs.base),
        adapter=inputs.adapter,
        final=final,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
    )
