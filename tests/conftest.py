"""What all tests share: one thread a process, and a tiny model with random weights."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: see rlvr.cluster.processes
os.environ.setdefault("MKL_NUM_THREADS", "1")


# No test is timed, for machines are shared; and each run of CI sees the same examples: a new
# counterexample is found by who looks for one.
settings.register_profile("anywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")


# a parameter of a test -> the actors or the run that all its files look at
SHARED = {"stage: Stage": "stage", "uninterrupted: Run": "uninterrupted"}


class FilesTogether(LoadScopeScheduling):
    """Scheduler of pytest-xdist: a file, or the files that share actors, stay in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope_of(nodeid.partition("::")[0])


@cache
def _scope_of(file: str) -> str:
    text = (Path(__file__).parent.parent / file).read_text(encoding="utf-8")
    return next((name for parameter, name in SHARED.items() if parameter in text), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Replace the scheduler; groups by mark do not work in pytest 9.2 with pytest-xdist 3.8."""
    return FilesTogether(config, log)


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
