"""Named sets of values for `rlvr sft`: what a recipe says itself stands.

medical_qlora    QLoRA of a distilled 8B model on one GPU, as Unsloth's notebooks have it: 60 steps
open_r1_distill  OpenR1-Distill-7B: full training on traces (huggingface/open-r1, config_distill)
"""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS", "with_preset"]

PRESETS: dict[str, dict[str, Any]] = {
    "medical_qlora": {
        "load_in_4bit": True,
        "dtype": "bfloat16",
        "max_tokens": 2048,
        "batch_size": 2,
        "gradient_accumulation": 4,
        "warmup_steps": 5,
        "max_steps": 60,
        "lr": 2e-4,
        "lr_schedule": "linear",
        "optimizer": "adamw_8bit",
        "weight_decay": 0.01,
        "seed": 3407,
        "log_steps": 10,
        "gradient_checkpointing": True,
        "learn_prompt": True,
        "deepspeed": {"zero_stage": None},
        "lora": {
            "r": 16,
            "alpha": 16,
            "dropout": 0.0,
            "bias": "none",
            "rslora": False,
        },
    },
    "open_r1_distill": {
        "dtype": "bfloat16",
        "max_tokens": 32768,
        "packing": False,
        "num_epochs": 5,
        "lr": 4e-5,
        "lr_schedule": "cosine_with_min_lr",
        "min_lr_frac": 0.1,
        "warmup_frac": 0.03,
        "max_grad_norm": 0.2,
        "gradient_checkpointing": True,
        "deepspeed": {"zero_stage": 3},
    },
}
EXCLUSIVE = (("num_epochs", "max_steps"), ("warmup_steps", "warmup_frac"))


def with_preset(data: Any) -> Any:
    """The recipe's mapping over its preset's. Raises ValueError for an unknown name."""
    name = data.get("preset") if isinstance(data, dict) else None
    if name is None:
        return data
    if name not in PRESETS:
        raise ValueError(f"preset: {name!r} is not known; allowed: {', '.join(sorted(PRESETS))}")
    preset = dict(PRESETS[name])
    for pair in EXCLUSIVE:
        if any(key in data for key in pair):  # the recipe's choice of the two stands
            preset = {key: value for key, value in preset.items() if key not in pair}
    return _merged(preset, data)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = _merged(below[key], above[key])
    return merged
