"""All learner ranks as one: each method calls every rank and returns the result of rank 0."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.actors import Actor
from rlvr.errors import ActorDied, ActorFailed
from rlvr.types import Batch, StepReport

__all__ = ["LearnerGroup"]

DEATH_S = 5.0  # after an exception, for the report that another rank died


class LearnerGroup:
    """The ranks of one DeepSpeed engine."""

    def __init__(self, ranks: Sequence[Actor], *, deadline_s: float) -> None:
        self._ranks = ranks
        self._deadline_s = deadline_s

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        """Take one optimizer step; the report covers all ranks."""
        shares = [(micro_batches, step) for micro_batches in batch.micro_batches]
        return (await self._call("step", shares))[0]

    async def weights(self, *, policy_version: int) -> Any:
        """Return a reference to the `PackedWeights` in the object store."""
        (ref,) = (await self._call_all("weights", policy_version))[0]
        return ref

    async def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return log-probs [T-1] of a fixed text."""
        return (await self._call_all("probe", token_ids))[0]

    async def replace_reference(self) -> None:
        """Replace the reference by the policy."""
        await self._call_all("replace_reference")

    async def save_checkpoint(self, folder: str) -> None:
        """Write the checkpoint shards of all ranks, and the policy as a model directory."""
        await self._call_all("save_checkpoint", folder)

    async def load_checkpoint(self, folder: str) -> None:
        """Load the checkpoint shards of all ranks."""
        await self._call_all("load_checkpoint", folder)

    async def _call_all(self, method: str, *args: Any) -> list[Any]:
        return await self._call(method, [args for _ in self._ranks])

    async def _call(self, method: str, args: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the results of all ranks; the first failure ends the others' calls.

        Ranks whose peer died fail too, perhaps before Ray reports the death: that error is raised
        which says what died.
        """
        calls = [
            asyncio.create_task(rank.call(method, *share, deadline_s=self._deadline_s))
            for rank, share in zip(self._ranks, args, strict=True)
        ]
        try:
            await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
            if any(isinstance(error, ActorFailed) for error in _errors(calls)):
                await asyncio.wait(calls, timeout=min(DEATH_S, self._deadline_s))
            if errors := _errors(calls):
                raise _cause(errors)
            return [call.result() for call in calls]
        finally:
            for call in calls:
                call.cancel()


def _errors(calls: Sequence[asyncio.Task[Any]]) -> list[BaseException]:
    return [error for call in calls if call.done() and (error := call.exception())]


def _cause(errors: Sequence[BaseException]) -> BaseException:
    """Return the error that says what happened."""
    failed = [error for error in errors if isinstance(error, ActorFailed)]
    if len(failed) == len(errors):
        return ActorDied(str(failed[0]))  # NCCL, gloo or a GPU: not the same again
    return next(error for error in errors if error not in failed)
