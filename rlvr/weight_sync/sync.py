"""One weight sync with its checks.

    learner --packed weights, through the object store--> engines
    digest: the received bytes are the sent ones
    load:   every parameter of the engine was written, and every sent tensor was used
    probe:  learner and engines give a text the same log-probs

The digest alone cannot detect a tensor that arrived and was ignored, as happens to the head of a
model with tied embeddings; the probe alone cannot tell a broken transport from a broken model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import CheckError
from rlvr.run.trace import span
from rlvr.weight_sync.probe import ProbeCheck

if TYPE_CHECKING:
    from rlvr.cluster.actors import Actor

__all__ = ["ProbedEngines", "ProbedLearner", "SyncReport", "WeightSync", "no_sync"]


class ProbedEngines(Protocol):
    """Engines that can load weights."""

    async def load_weights(self, packed_ref: Any, *, is_restart: bool = False) -> None:
        """Load weights; raise CheckError if the received bytes differ from the sent ones.

        Completions under way go on, or with `is_restart` begin again.
        """

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
    probe_error: float | None  # largest difference on the probe text, in nats; None: no_sync


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """The weights that the engines should hold."""

    policy_version: int
    packed_ref: Any
    expected: asyncio.Task[NDArray[np.float32]]  # the learner's log-probs [T-1] of the probe text


@dataclass(slots=True, kw_only=True)
class WeightSync:
    """Load the learner's weights into the engines and verify them."""

    engines: ProbedEngines
    learner: ProbedLearner
    probe_token_ids: NDArray[np.int32]  # [T], probe text, scored by learner and engines
    max_probe_error: float | None  # nats; None: relative to the first sync (ProbeCheck)
    is_restart: bool = False  # completions under way begin again with the new weights
    _probe: ProbeCheck = field(init=False)
    _published: _Published | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._probe = ProbeCheck(max_error=self.max_probe_error)

    async def __call__(self, policy_version: int) -> SyncReport:
        """Sync the weights. Raises CheckError: the engines do not hold the learner's weights."""
        started = time.monotonic()
        with span("pack"):
            packed_ref = await self.learner.weights(policy_version=policy_version)
        expected = asyncio.ensure_future(self.learner.probe(self.probe_token_ids))
        self._published = _Published(
            policy_version=policy_version, packed_ref=packed_ref, expected=expected
        )
        with span("load"):
            await self.engines.load_weights(packed_ref, is_restart=self.is_restart)
        with span("probe"):
            found = await self.engines.probe(self.probe_token_ids)
            with _named(policy_version):
                probe_error = self._probe(await expected, found)
        return SyncReport(sync_s=time.monotonic() - started, probe_error=probe_error)

    async def restore(self, engine: Actor, *, deadline_s: float) -> None:
        """Give a restarted engine the weights of the last sync, with the same checks."""
        published = self._published
        if published is None:  # before the first sync, which is going to reach the engine
            return
        await engine.call("load_weights", published.packed_ref, deadline_s=deadline_s)
        logprobs = await engine.call("probe", self.probe_token_ids, deadline_s=deadline_s)
        with _named(published.policy_version):
            self._probe.check_one(await published.expected, logprobs, name=engine.name)


@contextmanager
def _named(policy_version: int) -> Iterator[None]:
    try:
        yield
    except CheckError as error:
        raise CheckError(f"weight sync of version {policy_version}: {error}") from None


async def no_sync(policy_version: int) -> SyncReport:
    """Sync nothing, where there are no engines or no learner."""
    return SyncReport(sync_s=0.0, probe_error=None)
