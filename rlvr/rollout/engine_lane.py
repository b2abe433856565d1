"""One engine as the pool sees it: its jobs under way, what it finishes, and its death.

    assign(jobs) --submit--> engine --poll, while jobs are under way--> deliver(job, completions)

An engine that dies, or takes no decode step for a deadline, is killed; its unfinished requests go
back to the pool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from rlvr.cluster.actors import Actor
from rlvr.errors import ActorDied, RLVRError
from rlvr.rollout.engine_requests import EngineJob, EngineProgress, Finished, Request

__all__ = ["EngineLane", "LaneOwner"]

POLL_S = 1.0  # longest wait of a poll: how soon a hung engine is noticed depends on it

Place = tuple[int, int]  # task index, sample index


class LaneOwner(Protocol):
    """The pool, as its lanes see it."""

    def deliver(self, job_id: str, finished: Sequence[Finished]) -> None:
        """Take finished completions of a job."""

    def fail(self, job_id: str, error: RLVRError) -> None:
        """Take the reason why a job cannot be generated."""

    def lost(self, lane: EngineLane, error: ActorDied) -> None:
        """Take note that the engine died; `EngineLane.take_back` returns its jobs."""


@dataclass(slots=True)
class _UnderWay:
    job: EngineJob
    left: dict[Place, Request]  # requests without a completion


@dataclass(slots=True, kw_only=True)
class EngineLane:
    """The jobs of one engine."""

    actor: Actor
    owner: LaneOwner
    client: str
    deadline_s: float  # of a call, and without a decode step
    is_up: bool = True
    _jobs: dict[str, _UnderWay] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _num_left: int = 0  # completions under way
    _outbox: list[EngineJob] = field(default_factory=list)  # assigned, not yet submitted
    _polled: Actor | None = None  # the actor of the running poll loop
    _idle_since: float | None = field(default_factory=time.monotonic)
    _idle_s: float = 0.0
    _stepped_at: float = field(default_factory=time.monotonic)
    _num_steps: int = -1

    @property
    def load(self) -> int:
        """Number of completions under way."""
        return self._num_left

    def assign(self, jobs: Sequence[EngineJob]) -> None:
        """Start jobs on the engine; those that are assigned in a row enter it together."""
        for job in jobs:
            left = {(one.task_index, one.sample_index): one for one in job.requests}
            self._jobs[job.id] = _UnderWay(job, left)
            self._num_left += len(left)
        if self._idle_since is not None:
            self._idle_s += time.monotonic() - self._idle_since
            self._idle_since = None
        if not self._outbox:
            self._spawn(self._submit())
        self._outbox += jobs
        if self._polled is not self.actor:
            self._polled, self._stepped_at = self.actor, time.monotonic()
            self._spawn(self._poll(self.actor))

    def abandon(self, job_ids: Sequence[str]) -> None:
        """End jobs whose results nobody wants any more."""
        mine = [job_id for job_id in job_ids if self._forget(job_id)]
        if mine and self.is_up:
            self.actor.notify("abort", self.client, mine)

    def take_back(self) -> list[EngineJob]:
        """Return the jobs under way with their unfinished requests, and forget them."""
        jobs = [replace(one.job, requests=tuple(one.left.values())) for one in self._jobs.values()]
        for job in jobs:
            self._forget(job.id)
        return jobs

    def take_idle_s(self) -> float:
        """Return the seconds without a job since the last call."""
        now = time.monotonic()
        idle_s, self._idle_s = self._idle_s, 0.0
        if self._idle_since is not None:
            idle_s, self._idle_since = idle_s + now - self._idle_since, now
        return idle_s

    def describe(self) -> str:
        """Return a line about the jobs under way."""
        state = "up" if self.is_up else "down"
        age_s = time.monotonic() - self._stepped_at
        return (
            f"{self.actor.name}: {state}, {len(self._jobs)} jobs, {self.load} completions under "
            f"way, a decode step was last seen {age_s:.0f} s ago"
        )

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop itself keeps weak references only
        task.add_done_callback(self._tasks.discard)

    async def _submit(self) -> None:
        jobs, self._outbox = [job for job in self._outbox if job.id in self._jobs], []
        try:
            await self.actor.call("submit", jobs, deadline_s=self.deadline_s)
        except ActorDied as error:
            self.die(error)
        except RLVRError as error:
            for job in jobs:
                self._forget(job.id)
                self.owner.fail(job.id, error)

    async def _poll(self, actor: Actor) -> None:
        wait_s = min(POLL_S, self.deadline_s)
        try:
            while self._jobs and self._polled is actor:
                progress = await actor.call(
                    "poll", self.client, wait_s, deadline_s=wait_s + self.deadline_s
                )
                self._deliver(progress)
                await self._check_alive(progress)
        except ActorDied as error:
            if actor is self.actor:
                self.die(error)
        finally:
            if self._polled is actor:
                self._polled = None

    def _deliver(self, progress: EngineProgress) -> None:
        by_job: dict[str, list[Finished]] = {}
        for job_id, item in progress.finished:
            under_way = self._jobs.get(job_id)  # None: abandoned meanwhile
            if under_way and under_way.left.pop((item.task_index, item.sample_index), None):
                by_job.setdefault(job_id, []).append(item)
                self._num_left -= 1
                if not under_way.left:
                    self._forget(job_id)
        for job_id, finished in by_job.items():
            self.owner.deliver(job_id, finished)

    async def _check_alive(self, progress: EngineProgress) -> None:
        now = time.monotonic()
        if progress.num_steps != self._num_steps:
            self._num_steps, self._stepped_at = progress.num_steps, now
        elif self._jobs and now - self._stepped_at > self.deadline_s:
            await self.actor.on_late()
            raise ActorDied(
                f"{self.actor.name} generated no token for {self.deadline_s:.0f} s; its log: "
                f"{self.actor.log_path}"
            )

    def _forget(self, job_id: str) -> bool:
        """Whether the job was under way."""
        under_way = self._jobs.pop(job_id, None)
        if under_way is None:
            return False
        self._num_left -= len(under_way.left)
        if not self._jobs:
            self._idle_since = time.monotonic()
        return True

    def die(self, error: ActorDied) -> None:
        """Take the engine out of service."""
        if self.is_up:
            self.is_up = False
            with suppress(Exception):
                self.actor.kill()
            self.owner.lost(self, error)
