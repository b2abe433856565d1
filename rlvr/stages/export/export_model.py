"""A run's model as others take it: merged or as an adapter, with a card, perhaps on the hub.

runs/SFT/adapter + base --merge--> model/ (16 or 32 bit, loads without peft)   or  adapter/
                            |  the logits on a probe must be those before, or nothing is kept
manifests, summaries -------+----> README.md            --> hub (or a list of what would go)
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from rlvr.cluster.processes import actor_env
from rlvr.errors import ConfigError
from rlvr.run.manifest import make_manifest
from rlvr.run.run_folder import RunFolder, write_json
from rlvr.stages.export.export_config import ExportConfig
from rlvr.stages.export.gptq import check_gptq
from rlvr.stages.export.hub_upload import check_push, push_folder
from rlvr.stages.export.model_card import model_card
from rlvr.stages.sft.ranks import has_gpu, training_process

__all__ = ["Exported", "check_export", "run_export"]


class Exported:
    """What is there to export: `Exported(adapter=runs/a/adapter, base="Qwen/Qwen3-8B")`."""

    def __init__(self, config: ExportConfig) -> None:
        self.run = Path(config.run)
        self.adapter = _first_with(self.run, "adapter_config.json", "adapter")
        self.model = None if self.adapter else _first_with(self.run, "config.json", "model")
        if self.adapter is None and self.model is None:
            raise ConfigError(
                f"run: {self.run} has neither adapter/ nor model/; name a finished run"
            )
        self.base = config.base or self._named_base()

    def _named_base(self) -> str | None:
        if self.adapter is None:
            return None
        data = json.loads((self.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        base: str | None = data.get("base_model_name_or_path")
        if not base:
            raise ConfigError(f"base: {self.adapter} does not name the model below it; give one")
        return base

    @property
    def files(self) -> dict[str, str]:
        """For the manifest."""
        base = {"base": self.base} if self.base else {}
        return {"run": str(self.adapter or self.model), **base}


def check_export(config: ExportConfig) -> Exported:
    """Raises ConfigError with one line on what is wrong."""
    exported = Exported(config)
    if config.form == "adapter" and exported.adapter is None:
        raise ConfigError(f"form: adapter; {exported.run} holds a whole model, take form merged")
    for folder in config.evals:
        if not (Path(folder) / "summary.json").exists():
            raise ConfigError(f"evals: {folder} has no summary.json; give a finished evaluation")
    if config.gptq is not None:
        check_gptq()
    if config.push is not None:
        check_push(config.push)
    return exported


def run_export(config: ExportConfig, folder: RunFolder, exported: Exported) -> None:
    """Leaves model/ or adapter/ with its card, then summary.json. Raises RLVRError."""
    write_json(folder.manifest, make_manifest(config, inputs=exported.files))
    final = folder.model if config.form == "merged" else folder.path / "adapter"
    aside = folder.path / f".{final.name}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    with training_process(_env()):
        checked = _export(config, exported, aside)
    card = model_card(config, exported.run, base=exported.base, checked=checked)
    (aside / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    summary: dict[str, Any] = {"form": config.form, **checked}
    if config.gptq is not None:
        from rlvr.stages.export.gptq import quantize

        summary["gptq"] = quantize(final, folder.path / "gptq", config.gptq)
    if config.push is not None:
        summary["push"] = push_folder(final, config.push)
    write_json(folder.summary, summary)


def _env() -> dict[str, str]:
    threads = len(os.sched_getaffinity(0))
    return {
        **actor_env(num_threads=threads, is_cpu=not has_gpu()),
        "TRANSFORMERS_VERBOSITY": "error",
    }


def _export(config: ExportConfig, exported: Exported, aside: Path) -> dict[str, Any]:
    from rlvr.stages.export.merge_adapters import copy_adapter, save_whole

    if config.form == "adapter":
        assert exported.adapter is not None
        assert exported.base is not None
        return copy_adapter(
            exported.adapter, exported.base, aside, trust_remote_code=config.trust_remote_code
        )
    return save_whole(
        model=str(exported.model or exported.base),
        adapter=exported.adapter,
        final=aside,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
    )


def _first_with(run: Path, file: str, name: str) -> Path | None:
    return next((path for path in (run / name, run) if (path / file).exists()), None)
