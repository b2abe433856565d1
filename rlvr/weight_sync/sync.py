"""One weight sync, with its two proofs.

    learner --packed weights, through the object store--> engines
    digest: the bytes that arrived are those that were sent
    probe:  both give the same log-probs of a text, so the tensors were loaded where they belong

The digest alone cannot see a tensor that arrived and was ignored, which is what happens to the head
of a model with tied embeddings; the probe alone cannot tell a broken transport from a broken model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import CheckError

__all__ = ["ProbedEngines", "ProbedLearner", "SyncReport", "WeightSync"]


class ProbedEngines(Protocol):
    """Engines that take weights."""

    async def load_weights(self, packed_ref: Any) -> None:
        """CheckError where the bytes are not those that were sent."""
        ...

    async def probe(self, token_ids: NDArray[np.int32]) -> Sequence[NDArray[np.float32]]:
        """For each engine the log-probs [T-1] of a text."""
        ...


class ProbedLearner(Protocol):
    """A learner that gives weights."""

    async def weights(self, *, policy_version: int) -> Any:
        """A reference to `PackedWeights`."""
        ...

    async def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Log-probs [T-1] of a text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a sync cost and how well both sides agree."""

    sync_s: float
    probe_error: float  # largest log-prob difference on the probe text over all engines, in nats


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSync:
    """Brings the learner's weights into the engines and proves it."""

    engines: ProbedEngines
    learner: ProbedLearner
    probe_token_ids: NDArray[np.int32]  # [T], a text that both sides score
    max_probe_error: float

    async def __call__(self, policy_version: int) -> SyncReport:
        """Raises:
        CheckError: where digest or probe say that the engines do not hold the learner's weights.
        """
        started = time.monotonic()
        await self.engines.load_weights(await self.learner.weights(policy_version=policy_version))
        expected, found = await asyncio.gather(
            self.learner.probe(self.probe_token_ids), self.engines.probe(self.probe_token_ids)
        )
        errors = [float(np.abs(logprobs - expected).max()) for logprobs in found]
        worst = int(np.argmax(errors))
        if not errors[worst] <= self.max_probe_error:  # also where it is nan
            raise CheckError(
                f"weight sync of version {policy_version}: engine {worst} and the learner differ "
                f"by "
                f"{errors[worst]:.2g} nats on the probe text (limit {self.max_probe_error:.2g}, "
                "checks.max_probe_error): they do not hold the same weights"
            )
        return SyncReport(sync_s=time.monotonic() - started, probe_error=errors[worst])
