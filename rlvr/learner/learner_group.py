"""All learner ranks as one: each method is called on every rank, and rank 0 speaks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.actors import Actor
from rlvr.types import Batch, StepReport

__all__ = ["LearnerGroup"]


class LearnerGroup:
    """The ranks of one DeepSpeed engine."""

    def __init__(self, ranks: Sequence[Actor], *, deadline_s: float) -> None:
        self._ranks = ranks
        self._deadline_s = deadline_s

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        """One optimizer step; the report's sums are over all ranks already."""
        shares = [(micro_batches, step) for micro_batches in batch.micro_batches]
        return (await self._call("step", shares))[0]

    async def weights(self, *, policy_version: int) -> Any:
        """A reference to the packed weights in the object store; they do not pass through the
        controller.
        """
        from_rank_0, *_ = await self._call_all("weights", policy_version)
        (ref,) = from_rank_0
        return ref

    async def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Log-probs [T-1] of a fixed text."""
        return (await self._call_all("probe", token_ids))[0]

    async def replace_reference(self) -> None:
        """The policy becomes the reference."""
        await self._call_all("replace_reference")

    async def save_checkpoint(self, folder: str) -> None:
        """Every rank writes its share."""
        await self._call_all("save_checkpoint", folder)

    async def load_checkpoint(self, folder: str) -> None:
        """Every rank reads its share."""
        await self._call_all("load_checkpoint", folder)

    async def export(self, folder: str) -> None:
        """A Hugging Face model directory."""
        await self._call_all("export", folder)

    async def _call_all(self, method: str, *args: Any) -> list[Any]:
        return await self._call(method, [args for _ in self._ranks])

    async def _call(self, method: str, args: Sequence[tuple[Any, ...]]) -> list[Any]:
        calls = [
            rank.call(method, *share, deadline_s=self._deadline_s)
            for rank, share in zip(self._ranks, args, strict=True)
        ]
        return await asyncio.gather(*calls)
