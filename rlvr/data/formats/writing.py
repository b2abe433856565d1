"""Trace rows written in the forms of others, with LLaMA-Factory's index and a recipe for it.

rows, ["alpaca"] --> FOLDER/NAME_alpaca.json   dataset_info.json   NAME_sft.yaml

Text is UTF-8 and not escaped; each file is written aside and renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rlvr.data.formats.dataset_info import FILE_NAME
from rlvr.data.formats.exchanges import Exchange
from rlvr.data.formats.records import FORMATS
from rlvr.run.run_folder import report_disk_errors

__all__ = ["write_exports"]


def write_exports(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, name: str, formats: Sequence[str]
) -> list[Path]:
    """Write rows of prompt, reasoning_content and content in each format; returns the files.

    Raises RLVRError where the disk refuses them.
    """
    exchanges = [Exchange.of_row(row) for row in rows]
    files, entries = [], {}
    for one in formats:
        file = folder / f"{name}_{one}.json"
        _write_json(file, [FORMATS[one].write(exchange) for exchange in exchanges])
        entries[file.stem] = {"file_name": file.name, **FORMATS[one].dataset_info}
        files.append(file)
    if not files:
        return []
    index, recipe = folder / FILE_NAME, folder / f"{name}_sft.yaml"
    _write_json(index, entries)
    _write(recipe, _SFT_HEADER + yaml.safe_dump(_sft(files[0].stem), sort_keys=False))
    return [*files, index, recipe]


_SFT_HEADER = """\
# For LLaMA-Factory, from this folder: llamafactory-cli train THIS_FILE
# Set model_name_or_path and template to your student; cutoff_len to its memory.
"""


def _sft(dataset: str) -> dict[str, Any]:
    """Keys of LLaMA-Factory's examples/train_lora; epochs and schedule of DeepSeek-R1's
    distillation (arXiv 2501.12948v2, B.4.3), at a rate for LoRA."""
    return {
        "model_name_or_path": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": 16,
        "lora_target": "all",
        "dataset_dir": ".",
        "dataset": dataset,
        "template": "deepseekr1",
        "cutoff_len": 8192,
        "output_dir": f"saves/{dataset}",
        "logging_steps": 10,
        "save_steps": 500,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "learning_rate": 1e-4,
        "num_train_epochs": 2.0,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.03,
        "bf16": True,
    }


def _write_json(path: Path, data: Any) -> None:
    _write(path, json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".tmp")
    with report_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
