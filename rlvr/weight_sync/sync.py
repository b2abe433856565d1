"""One weight sync with its two checks.

    learner --packed weights, through the object store--> engines
    digest: the received bytes are the sent ones
    probe:  learner and engines give a text the same log-probs, so each tensor was loaded correctly

The digest alone cannot detect a tensor that arrived and was ignored, as happens to the head of a
model with tied embeddings; the probe alone cannot tell a broken transport from a broken model.
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
from rlvr.run.trace import span

__all__ = ["ProbedEngines", "ProbedLearner", "SyncReport", "WeightSync"]


class ProbedEngines(Protocol):
    """Engines that can load weights."""

    async def load_weights(self, packed_ref: Any) -> None:
        """Load weights; raise CheckError if the received bytes differ from the sent ones."""

    async def probe(self, token_ids: NDArray[np.int32]) -> Sequence[NDArray[np.float32]]:
        """Return the log-probs [T-1] of a text from each engine."""


class ProbedLearner(Protocol):
    """A learner that provides weights."""

    async def weights(self, *, policy_version: int) -> Any:
        """Return a reference to `PackedWeights`."""

    async def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the log-probs [T-1] of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """Duration and probe error of one sync."""

    sync_s: float
    probe_error: float  # largest log-prob difference on the probe text over all engines, in nats


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSync:
    """Load the learner's weights into the engines and verify them."""

    engines: ProbedEngines
    learner: ProbedLearner
    probe_token_ids: NDArray[np.int32]  # [T], probe text, scored by learner and engines
    max_probe_error: float

    async def __call__(self, policy_version: int) -> SyncReport:
        """Sync the weights. Raises CheckError: the engines do not hold the learner's weights."""
        started = time.monotonic()
        with span("pack"):
            packed_ref = await self.learner.weights(policy_version=policy_version)
        with span("load"):
            await self.engines.load_weights(packed_ref)
        with span("probe"):
            expected, found = await asyncio.gather(
                self.learner.probe(self.probe_token_ids), self.engines.probe(self.probe_token_ids)
            )
        errors = [float(np.abs(logprobs - expected).max()) for logprobs in found]
        worst = int(np.argmax(errors))
        if not errors[worst] <= self.max_probe_error:  # also if it is nan
            raise CheckError(
                f"weight sync of version {policy_version}: engine {worst} and the learner differ "
                f"by {errors[worst]:.2g} nats on the probe text (limit {self.max_probe_error:.2g}, "
                "checks.max_probe_error): they do not hold the same weights"
            )
        return SyncReport(sync_s=time.monotonic() - started, probe_error=errors[worst])
