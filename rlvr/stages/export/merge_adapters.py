"""Adapters into the weights below them, and the proof that it is the same model.

The probe's logits are taken in float32 from the run's model and from what was saved and loaded
again. Rounding the weights is the only thing that may have moved them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from rlvr.errors import RLVRError

__all__ = ["TOLERANCES", "check_logits", "copy_adapter", "save_whole"]

# of the logits' difference to their size (Frobenius norms); a bfloat16 weight is rounded by 2^-9
# of itself at most, a float16 weight by 2^-12, and the layers add up; of the toy model: 3.5e-7,
# 3.2e-4 and 2.4e-3
TOLERANCES = {"float32": 1e-5, "float16": 2.5e-3, "bfloat16": 2e-2}
NUM_ROWS, NUM_TOKENS = 4, 32  # of the probe


def save_whole(
    *, model: str, adapter: Path | None, final: Path, dtype: str, trust_remote_code: bool
) -> dict[str, Any]:
    """Save the merged model with its tokenizer; returns what was compared. Raises RLVRError."""
    whole = _load(model, trust_remote_code=trust_remote_code)
    if adapter is not None:
        whole = _with_adapter(whole, adapter)
    before = probe_logits(whole)
    if adapter is not None:
        whole = whole.merge_and_unload()
    whole.to(getattr(torch, dtype)).save_pretrained(final)
    _save_tokenizer(adapter or Path(model), model, final, trust_remote_code=trust_remote_code)
    del whole
    after = probe_logits(_load(str(final), trust_remote_code=trust_remote_code))
    return {
        **check_logits(before, after, dtype=dtype),
        "dtype": dtype,
        "merged": adapter is not None,
    }


def copy_adapter(
    adapter: Path, base: str, final: Path, *, trust_remote_code: bool
) -> dict[str, Any]:
    """Copy an adapter with its tokenizer; returns what was compared. Raises RLVRError."""
    ignored = shutil.ignore_patterns("README.md", "checkpoint-*", "*.bin.tmp")
    shutil.copytree(adapter, final, ignore=ignored)
    before = probe_logits(_with_adapter(_load(base, trust_remote_code=trust_remote_code), adapter))
    after = probe_logits(_with_adapter(_load(base, trust_remote_code=trust_remote_code), final))
    return check_logits(before, after, dtype="float32")


def check_logits(before: torch.Tensor, after: torch.Tensor, *, dtype: str) -> dict[str, float]:
    """How far they lie apart. Raises RLVRError where rounding to `dtype` does not explain it."""
    difference = (after - before).norm() / before.norm()
    measured = {
        "max_logit_diff": float((after - before).abs().max()),
        "relative_logit_diff": float(difference),
    }
    if not difference <= TOLERANCES[dtype]:  # also where it is not a number
        raise RLVRError(
            f"export: the saved model's logits differ by {float(difference):.2g} of their size "
            "from "
            f"the run's, over {TOLERANCES[dtype]:g} for {dtype}; nothing was exported"
        )
    return measured


def probe_logits(model: Any) -> torch.Tensor:
    """Logits in float32 on fixed random tokens: [4, 32, V], of a reward model [4, 1]."""
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_ROWS, NUM_TOKENS)
    ids = torch.randint(model.config.vocab_size, shape, generator=generator)
    with torch.inference_mode():
        logits: torch.Tensor = model.eval()(
            input_ids=ids, attention_mask=torch.ones_like(ids)
        ).logits
    return logits.float().clone()


def _load(path: str, *, trust_remote_code: bool) -> Any:
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
    )

    config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    is_reward_model = "SequenceClassification" in " ".join(config.architectures or [])
    kind = AutoModelForSequenceClassification if is_reward_model else AutoModelForCausalLM
    return kind.from_pretrained(path, dtype=torch.float32, trust_remote_code=trust_remote_code)


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(adapter))


def _save_tokenizer(first: Path, model: str, final: Path, *, trust_remote_code: bool) -> None:
    """The adapter's own, where it has one: its end token may be another than the base's."""
    from transformers import AutoTokenizer

    has_own = (first / "tokenizer_config.json").exists()
    AutoTokenizer.from_pretrained(
        str(first) if has_own else model, trust_remote_code=trust_remote_code
    ).save_pretrained(final)
