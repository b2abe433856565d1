"""An engine behind the pool: answers the calls of an engine actor without vLLM."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fakes import completion_of

from rlvr.errors import ActorDied, CheckError
from rlvr.rollout.engine_requests import EngineJob, EngineProgress, Finished, Request


def written(request: Request, *, policy_version: int = 0) -> Finished:
    text = f"{request.task_index}.{request.sample_index}"
    return Finished(
        task_index=request.task_index,
        sample_index=request.sample_index,
        completion=completion_of(text, policy_version=policy_version),
    )


@dataclass(slots=True)
class FakeEngine:
    """Finishes one completion at each poll, and dies or hangs after so many."""

    name: str
    dies_after: int | None = None  # completions
    hangs_after: int | None = None
    version: int = 0
    log_path: str = "engine.log"
    requests: list[Request] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    loaded: list[tuple[Any, bool]] = field(default_factory=list)
    is_killed: bool = False
    num_late: int = 0  # reports that it hangs
    num_finished: int = 0
    largest_load: int = 0
    gate: asyncio.Event | None = None  # nothing finishes before it is set
    _left: deque[tuple[EngineJob, Request]] = field(default_factory=deque)
    _has_work: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, method: str, *args: Any, deadline_s: float, **options: Any) -> Any:
        await asyncio.sleep(0)
        if self.is_killed:
            raise ActorDied(f"{self.name} died in {method}; its log: {self.log_path}")
        return await getattr(self, f"_{method}")(*args, **options)

    async def on_late(self) -> None:
        assert not self.is_killed, "its stacks are gone"
        self.num_late += 1

    def notify(self, method: str, *args: Any) -> None:
        assert method == "abort"
        _, job_ids = args
        self.aborted += job_ids
        self._left = deque(item for item in self._left if item[0].id not in job_ids)

    def kill(self) -> None:
        self.is_killed = True

    async def _submit(self, jobs: Sequence[EngineJob]) -> None:
        for job in jobs:
            if job.policy_version > self.version:
                raise CheckError(f"engine holds {self.version}")
            self.requests += job.requests
            self._left += [(job, request) for request in job.requests]
        self.largest_load = max(self.largest_load, len(self._left))
        self._has_work.set()

    async def _poll(self, client: str, wait_s: float) -> EngineProgress:
        if self.gate is not None:
            await self.gate.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_work.wait(), wait_s)
        if self.num_finished == self.dies_after:
            self.is_killed = True
            raise ActorDied(f"{self.name} died in poll; its log: {self.log_path}")
        if self.num_finished == self.hangs_after:
            await asyncio.sleep(wait_s)
            return EngineProgress(finished=[], num_steps=self.num_finished)
        finished = []
        if self._left:
            job, request = self._left.popleft()
            finished = [(job.id, written(request, policy_version=self.version))]
            self.num_finished += 1
        if not self._left:
            self._has_work.clear()
        return EngineProgress(finished=finished, num_steps=self.num_finished)

    async def _load_weights(self, packed_ref: Any, *, is_restart: bool = False) -> None:
        self.loaded.append((packed_ref, is_restart))

    async def _probe(self, token_ids: Any) -> str:
        return f"probe of {self.name}"
