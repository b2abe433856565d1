"""What all tests share: one thread a process, and a tiny model with random weights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: see rlvr.cluster.processes
os.environ.setdefault("MKL_NUM_THREADS", "1")


# No test is timed, for machines are shared; and each run of CI sees the same examples: a new
# counterexample is found by who looks for one.
settings.register_profile("anywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a 2-layer Qwen3 of random weights, tied embeddings, and its tokenizer."""
    from rlvr.toy.toy_model import make_model, make_tokenizer

    folder = tmp_path_factory.mktemp("tiny_model")
    tokenizer = make_tokenizer()
    model = make_model(
        tokenizer, hidden_size=64, num_layers=2, num_heads=2, num_kv_heads=1, intermediate_size=128
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
