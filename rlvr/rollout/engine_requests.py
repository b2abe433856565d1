"""What the controller asks of an engine: plain values, free of vLLM, so that both sides can import
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from rlvr.types import Completion

__all__ = ["EngineSpec", "Finished", "Request", "SamplingSpec", "completion_seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """How to start one vLLM engine."""

    model_path: str
    dtype: str
    seed: int
    max_model_tokens: int  # longest prompt and completion together
    max_concurrent: int
    kv_cache_bytes: int
    tensor_parallel: int
    num_threads: int  # CPU threads of its kernels
    policy_version: int  # of the weights in the model's files; -1: none is served before a sync
    has_stop_strings: bool  # these need vLLM's own detokenizer, which costs some speed
    trust_remote_code: bool
    log_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSpec:
    """How the completions of one batch are drawn."""

    temperature: float
    max_tokens: int
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    top_p: float = 1.0  # below 1 the log-probs are those of the tokens that are left


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion to write."""

    task_index: int  # position of the task in its batch
    sample_index: int  # position of the completion in its group
    prompt_token_ids: NDArray[np.int32]  # [P]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One completion that is written."""

    task_index: int
    sample_index: int
    completion: Completion


def completion_seed(*parts: int | str) -> int:
    """A seed of 63 bits from what names a completion: run seed, purpose, task's place in the run,
    its index.

    It does not hang on the number of engines or on timing, so that a resumed run repeats itself.
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
