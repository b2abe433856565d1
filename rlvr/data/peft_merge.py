"""Adapters of peft: loading one with the model below it, and merging both into a whole model.

Program that merges: python -m rlvr.data.peft_merge ADAPTER BASE TARGET DTYPE [--trust-remote-code]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rlvr.cluster.processes import actor_env
from rlvr.errors import RLVRError

__all__ = ["load_whole", "merge_in_child", "save_tokenizer"]

DEADLINE_S = 3600.0
TRUST = "--trust-remote-code"


def load_whole(model: str, adapter: str | None = None, *, trust_remote_code: bool) -> Any:
    """Load a causal LM or reward model in float32, with an adapter over it (not merged)."""
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
    )

    config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
    is_reward_model = "SequenceClassification" in " ".join(config.architectures or [])
    kind = AutoModelForSequenceClassification if is_reward_model else AutoModelForCausalLM
    whole = kind.from_pretrained(model, dtype=torch.float32, trust_remote_code=trust_remote_code)
    if adapter is None:
        return whole
    from peft import PeftModel

    return PeftModel.from_pretrained(whole, adapter)


def save_tokenizer(folders: tuple[str, str], target: Path, *, trust_remote_code: bool) -> None:
    """Save the tokenizer of an adapter, whose end token may differ, or else of the model below."""
    from transformers import AutoTokenizer

    adapter, model = folders
    source = adapter if (Path(adapter) / "tokenizer_config.json").exists() else model
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    tokenizer.save_pretrained(target)


def merge_in_child(
    adapter: str, base: str, target: Path, *, dtype: str, trust_remote_code: bool
) -> None:
    """Write the merged model to `target`, in a process of its own: its memory is free afterwards.

    Raises RLVRError with the last line of the error; FileNotFoundError: the adapter was deleted.
    """
    command = [sys.executable, "-m", "rlvr.data.peft_merge", adapter, base, str(target), dtype]
    threads = len(os.sched_getaffinity(0))
    env = actor_env(num_threads=threads, is_cpu=shutil.which("nvidia-smi") is None)
    result = subprocess.run(
        [*command, TRUST] if trust_remote_code else command,
        env={**os.environ, **env, "TRANSFORMERS_VERBOSITY": "error"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    if result.returncode and not Path(adapter).is_dir():
        raise FileNotFoundError(f"{adapter} was deleted")
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no output"]
        raise RLVRError(f"{adapter}: cannot be merged with {base}: {lines[-1]}")


def _main(adapter: str, base: str, target: str, dtype: str, *flags: str) -> None:
    import torch

    trust_remote_code = TRUST in flags
    merged = load_whole(base, adapter, trust_remote_code=trust_remote_code).merge_and_unload()
    merged.to(getattr(torch, dtype)).save_pretrained(target)
    save_tokenizer((adapter, base), Path(target), trust_remote_code=trust_remote_code)


if __name__ == "__main__":
    _main(*sys.argv[1:])
