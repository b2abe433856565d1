"""Write samples in other projects' formats, with LLaMA-Factory's index and a recipe for it.

    rows, ["alpaca"] --> FOLDER/NAME_alpaca.json   dataset_info.json   NAME_sft.yaml

Text is unescaped UTF-8, and each file is written atomically.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rlvr.data.formats.records import FORMATS, INDEX_FILE, Exchange
from rlvr.run.run_folder import write_json, write_text

__all__ = ["write_exports"]

SFT_HEADER = """\
# For LLaMA-Factory, from this folder: llamafactory-cli train THIS_FILE
# Set model_name_or_path and template to your student; cutoff_len to its memory.
"""


def write_exports(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, name: str, formats: Sequence[str]
) -> list[Path]:
    """Write rows of prompt, reasoning_content and content in each format; return the files.

    Raises RLVRError: a file cannot be written.
    """
    exchanges = [Exchange.of_row(row) for row in rows]
    files, entries = [], {}
    for one in formats:
        file = folder / f"{name}_{one}.json"
        records = [FORMATS[one].write(exchange) for exchange in exchanges]
        write_text(file, json.dumps(records, indent=2, ensure_ascii=False) + "\n")
        entries[file.stem] = {"file_name": file.name, **FORMATS[one].dataset_info}
        files.append(file)
    if not files:
        return []
    index, recipe = folder / INDEX_FILE, folder / f"{name}_sft.yaml"
    write_json(index, entries)
    write_text(recipe, SFT_HEADER + yaml.safe_dump(_sft_recipe(files[0].stem), sort_keys=False))
    return [*files, index, recipe]


def _sft_recipe(dataset: str) -> dict[str, Any]:
    """Keys of LLaMA-Factory's examples/train_lora; epochs and schedule of DeepSeek-R1's
    distillation (arXiv 2501.12948v2, B.4.3), with a learning rate for LoRA."""
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
