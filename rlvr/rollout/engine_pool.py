"""All engines as one: a batch is split by task, finished completions are merged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.actors import Actor
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec

__all__ = ["EnginePool"]


class EnginePool:
    """Engines that hold the same weights."""

    def __init__(self, engines: Sequence[Actor], *, deadline_s: float) -> None:
        self._engines = engines
        self._deadline_s = deadline_s

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Yield chunks of finished completions, one completion per request.

        One engine generates all completions of a task, so that it computes the prompt once; the
        task's index in the batch determines the engine.
        """
        arrived: asyncio.Queue[list[Finished] | None] = asyncio.Queue()

        async def drain(engine: Actor, share: Sequence[Request]) -> None:
            arguments = (share, sampling, policy_version)
            async for chunk in engine.stream("generate", *arguments, deadline_s=self._deadline_s):
                arrived.put_nowait(chunk)

        async def drain_all() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    for i, engine in enumerate(self._engines):
                        share = [r for r in requests if r.task_index % len(self._engines) == i]
                        group.create_task(drain(engine, share))
            finally:
                arrived.put_nowait(None)

        draining = asyncio.create_task(drain_all())
        try:
            while (chunk := await arrived.get()) is not None:
                yield chunk
            await draining
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            draining.cancel()

    async def load_weights(self, packed_ref: Any) -> None:
        """Load weights into all engines from a reference into the object store."""
        await self._call_all("load_weights", packed_ref)

    async def probe(self, token_ids: NDArray[np.int32]) -> list[NDArray[np.float32]]:
        """Return the log-probs [T-1] of a fixed text from each engine."""
        return await self._call_all("probe", token_ids)

    async def _call_all(self, method: str, *args: Any) -> list[Any]:
        calls = (one.call(method, *args, deadline_s=self._deadline_s) for one in self._engines)
        return await asyncio.gather(*calls)
