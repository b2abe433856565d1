"""An engine without a model: completions of random lengths take the time that their tokens take.

It answers the calls of `rlvr.rollout.engine.VllmEngine`, in this process or as a Ray actor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlvr.rollout.engine_requests import EngineJob, EngineProgress, Finished, Request
from rlvr.types import Completion, FinishReason

__all__ = ["EngineTimes", "LocalActor", "SimulatedEngine", "num_tokens_of"]

CHUNK_S = 0.05  # as of the real engine


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTimes:
    """The lengths of completions, and how long an engine takes for them."""

    slots: int  # completions at a time
    token_s: float  # of a decode step, with all slots busy or not
    mean_tokens: float
    sigma: float = 1.0  # of the logarithm of the lengths
    max_tokens: int = 1 << 30
    load_s: float = 0.0  # of new weights; nothing is decoded meanwhile


def num_tokens_of(seed: int, times: EngineTimes) -> int:
    """Return a lognormal length that depends on the seed of the completion alone."""
    mu = np.log(times.mean_tokens) - times.sigma**2 / 2
    length = np.random.default_rng(seed).lognormal(mu, times.sigma)
    return int(np.clip(round(length), 1, times.max_tokens))


@dataclass(slots=True)
class SimulatedEngine:
    """Decodes `slots` completions at a time, each token in `token_s`."""

    times: EngineTimes
    _version: int = 0
    _waiting: deque[tuple[EngineJob, Request]] = field(default_factory=deque)
    _running: dict[tuple[str, int, int], asyncio.Task[None]] = field(default_factory=dict)
    _done: list[tuple[str, Finished]] = field(default_factory=list)
    _has_news: asyncio.Event = field(default_factory=asyncio.Event)
    _paused_s: float = 0.0  # since the start, for loads
    _busy_since: float = 0.0
    _slot_s: float = 0.0  # busy seconds, summed over slots
    _idle_s: float = 0.0  # without any completion

    async def ready(self) -> int:
        """Return at once."""
        return 0

    async def submit(self, jobs: Sequence[EngineJob]) -> None:
        """Start jobs."""
        self._waiting += [(job, request) for job in jobs for request in job.requests]
        self._start()

    async def poll(self, client: str, wait_s: float) -> EngineProgress:
        """Return the finished completions; wait up to `wait_s` for the first one."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_news.wait(), wait_s)
        if self._has_news.is_set():
            await asyncio.sleep(CHUNK_S)  # what ends soon after it comes with it
        self._has_news.clear()
        finished, self._done = self._done, []
        return EngineProgress(finished=finished, num_steps=round(_now() * 1e6))

    async def abort(self, client: str, job_ids: Collection[str]) -> None:
        """End jobs."""
        self._waiting = deque(item for item in self._waiting if item[0].id not in job_ids)
        for key in [key for key in self._running if key[0] in job_ids]:
            self._account()
            self._running.pop(key).cancel()
        self._start()

    async def load_weights(self, version: int, *, is_restart: bool = False) -> None:
        """Pause decoding for the time of a load."""
        self._paused_s += self.times.load_s
        await asyncio.sleep(self.times.load_s)
        self._version = version

    async def probe(self, token_ids: Any) -> float:
        """Return nothing of interest."""
        return 0.0

    async def take_usage(self) -> tuple[float, float]:
        """Return busy slot seconds, and seconds without any completion, since the last call."""
        self._account()
        usage = (self._slot_s, self._idle_s)
        self._slot_s = self._idle_s = 0.0
        return usage

    def _start(self) -> None:
        while self._waiting and len(self._running) < self.times.slots:
            self._account()
            job, request = self._waiting.popleft()
            key = (job.id, request.task_index, request.sample_index)
            self._running[key] = asyncio.ensure_future(self._decode(key, request))

    async def _decode(self, key: tuple[str, int, int], request: Request) -> None:
        num_tokens, first_version = num_tokens_of(request.seed, self.times), self._version
        paused_s, left_s = self._paused_s, num_tokens * self.times.token_s
        while left_s > 0:
            await asyncio.sleep(left_s)
            left_s, paused_s = self._paused_s - paused_s, self._paused_s
        self._account()
        del self._running[key]
        completion = Completion.sampled(
            np.zeros(num_tokens, np.int32),
            np.zeros(num_tokens, np.float32),
            text="",
            finish_reason=FinishReason.STOP,
            policy_version=self._version,
        )
        completion.policy_versions[0] = first_version
        item = Finished(
            task_index=request.task_index,
            sample_index=request.sample_index,
            completion=completion,
        )
        self._done.append((key[0], item))
        self._has_news.set()
        self._start()

    def _account(self) -> None:
        now = _now()
        elapsed_s, self._busy_since = now - self._busy_since, now
        self._slot_s += elapsed_s * len(self._running)
        self._idle_s += 0.0 if self._running else elapsed_s


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class LocalActor:
    """An engine of this process, called as the pool calls a Ray actor."""

    name: str
    engine: SimulatedEngine
    log_path: str = ""

    async def call(self, method: str, *args: Any, deadline_s: float, **options: Any) -> Any:
        """Call a method."""
        return await getattr(self.engine, method)(*args, **options)

    def notify(self, method: str, *args: Any) -> None:
        """Refuse: nothing is aborted here."""
        raise AssertionError(method)

    def kill(self) -> None:
        """Do nothing: these engines do not die."""
