"""Save a model with its adapter merged, or copy the adapter, and check that its logits are kept.

Logits on a fixed probe are computed in float32 from the run's model and from the saved model after
loading it. They may differ only by the rounding of the weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from rlvr.data.model_copy import TRAINER_FILES
from rlvr.data.peft_merge import load_whole, save_tokenizer
from rlvr.errors import RLVRError
from rlvr.stages.export.export_config import ExportConfig
from rlvr.stages.export.export_stage import ExportInputs

__all__ = ["TOLERANCES", "check_logits", "copy_adapter", "probe_logits", "save_whole"]

# Largest difference of the logits relative to their size (Frobenius norms). Rounding changes a
# bfloat16 weight by at most 2^-9 of itself and a float16 weight by 2^-12, and the layers add up;
# measured for the toy model: 3.5e-7, 3.2e-4 and 2.4e-3.
TOLERANCES = {"float32": 1e-5, "float16": 2.5e-3, "bfloat16": 2e-2}
NUM_ROWS, NUM_TOKENS = 4, 32  # of the probe


def save_whole(config: ExportConfig, inputs: ExportInputs, final: Path) -> dict[str, Any]:
    """Save the merged model with its tokenizer; return the differences. Raises RLVRError."""
    model, adapter, trust = (
        str(inputs.model or inputs.base),
        inputs.adapter,
        config.trust_remote_code,
    )
    whole = load_whole(model, str(adapter) if adapter else None, trust_remote_code=trust)
    before = probe_logits(whole)
    if adapter is not None:
        whole = whole.merge_and_unload()
    whole.to(getattr(torch, config.dtype)).save_pretrained(final)
    save_tokenizer((str(adapter or model), model), final, trust_remote_code=trust)
    del whole
    after = probe_logits(load_whole(str(final), trust_remote_code=trust))
    measured = check_logits(before, after, dtype=config.dtype)
    return {**measured, "dtype": config.dtype, "merged": adapter is not None}


def copy_adapter(config: ExportConfig, inputs: ExportInputs, final: Path) -> dict[str, Any]:
    """Copy an adapter with its tokenizer; return the differences. Raises RLVRError."""
    assert inputs.adapter is not None and inputs.base is not None
    base, trust = inputs.base, config.trust_remote_code
    ignored = shutil.ignore_patterns("README.md", "checkpoint-*", "*.bin.tmp", *TRAINER_FILES)
    shutil.copytree(inputs.adapter, final, ignore=ignored)
    before, after = (
        probe_logits(load_whole(base, str(adapter), trust_remote_code=trust))
        for adapter in (inputs.adapter, final)
    )
    return check_logits(before, after, dtype="float32")


def check_logits(before: torch.Tensor, after: torch.Tensor, *, dtype: str) -> dict[str, float]:
    """Return the differences of the logits.

    Raises:
        RLVRError: rounding to `dtype` does not explain them.
    """
    difference = float((after - before).norm() / before.norm())
    if not difference <= TOLERANCES[dtype]:  # NaN too
        raise RLVRError(
            f"export: the saved model's logits differ by {difference:.2g} of their size from the "
            f"run's, over {TOLERANCES[dtype]:g} for {dtype}; nothing was exported"
        )
    largest = float((after - before).abs().max())
    return {"max_logit_diff": largest, "relative_logit_diff": difference}


def probe_logits(model: Any) -> torch.Tensor:
    """Return float32 logits on fixed random tokens: [4, 32, V]; of a reward model [4, 1]."""
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_ROWS, NUM_TOKENS)
    ids = torch.randint(model.config.vocab_size, shape, generator=generator)
    with torch.inference_mode():
        output = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    logits: torch.Tensor = output.logits
    return logits.float().clone()
