"""Requests to an engine and their results: plain values that import no vLLM.

requests of a task --> EngineJob --submit--> engine --poll--> EngineProgress(finished completions)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from rlvr.types import Completion

__all__ = [
    "EngineJob",
    "EngineProgress",
    "EngineSpec",
    "Finished",
    "Request",
    "SamplingSpec",
    "completion_seed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Arguments to start one vLLM engine."""

    model_path: str
    dtype: str
    seed: int
    max_model_tokens: int  # longest prompt and completion together
    max_concurrent: int
    kv_cache_bytes: int
    tensor_parallel: int
    num_threads: int  # CPU threads of its kernels
    policy_version: int  # of the weights in the model's files; -1: generate only after a sync
    has_stop_strings: bool  # they need vLLM's own detokenizer, which is slower
    has_raw_logprobs: bool  # log-probs before temperature, top-p and top-k, instead of after them
    trust_remote_code: bool
    log_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSpec:
    """Sampling parameters of one batch."""

    temperature: float
    max_tokens: int
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    top_p: float = 1.0
    top_k: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion to generate."""

    task_index: int  # position of the task in its batch
    sample_index: int  # position of the completion in its group
    prompt_token_ids: NDArray[np.int32]  # [P]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One finished completion."""

    task_index: int
    sample_index: int
    completion: Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineJob:
    """Requests of one task: the engine that generates them computes its prompt once."""

    id: str  # unique among the jobs of the client
    client: str  # the pool that polls for the results
    requests: Sequence[Request]
    sampling: SamplingSpec
    policy_version: int  # the oldest weights that may generate it


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProgress:
    """Results of an engine for a client since its last poll."""

    finished: Sequence[tuple[str, Finished]]  # (id of the job, completion)
    num_steps: int  # decode steps since the engine's start: a hung engine takes none


def completion_seed(*parts: int | str) -> int:
    """Return a 63-bit seed from the parts that identify a completion.

    The parts are the run seed, the purpose, the task's position in the run and the sample index,
    not the engine or any timing, so that a resumed run repeats itself.
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
