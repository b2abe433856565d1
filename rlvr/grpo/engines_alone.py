"""Stand-ins for the learner: `rollout.only` runs tasks, engines, rewards and log.

The weights stay those of model.path and count as those of every policy version, so that a batch
carries the number of the step that takes it, as in a whole run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, replace

import numpy as np

from rlvr.grpo.rollouts import FIXED_POLICY_VERSION, Engines
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec
from rlvr.types import Batch, StepReport

__all__ = ["NoLearner", "UnchangedEngines"]

NOTHING_LEARNED = StepReport(**dict.fromkeys((field.name for field in fields(StepReport)), 0))


class NoLearner:
    """A learner that changes nothing; checkpoints hold the progress of the run only."""

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        """Return a report in which everything is 0."""
        return NOTHING_LEARNED

    async def replace_reference(self) -> None:
        """Do nothing."""

    async def save_checkpoint(self, folder: str) -> None:
        """Write nothing."""

    async def load_checkpoint(self, folder: str) -> None:
        """Read nothing."""


class UnchangedEngines:
    """Engines that hold the weights of the model's files, whatever version is asked for."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Yield chunks of finished completions, labelled with `policy_version`."""
        chunks = self._engines.generate(requests, sampling, policy_version=FIXED_POLICY_VERSION)
        async for chunk in chunks:
            yield [_labelled(item, policy_version) for item in chunk]


def _labelled(item: Finished, policy_version: int) -> Finished:
    versions = np.full_like(item.completion.policy_versions, policy_version)
    return replace(item, completion=replace(item.completion, policy_versions=versions))
