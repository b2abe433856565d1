"""All engines as one: jobs go to the least loaded engine, and those of a dead one to the others.

    generate(requests) --jobs, one per task--> queue --> lane of an engine --> completions
                                                 ^          | dies
                                                 +----------+--> a new actor, the current weights

A job is the requests of one task: an engine computes its prompt once. With `max_concurrent` None
all jobs are dealt to the engines at once and in turn, so that a call does the same work each time.
Otherwise each engine gets as many as it can generate at a time, and the rest waits here, so no
engine runs dry while another has a backlog.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.cluster.actors import Actor
from rlvr.errors import ActorDied, RLVRError
from rlvr.rollout.engine_lane import EngineLane
from rlvr.rollout.engine_requests import EngineJob, Finished, Request, SamplingSpec

__all__ = ["EnginePool", "EngineRestarts"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRestarts:
    """Replacement of dead engines."""

    start: Callable[[int], Awaitable[Actor]]  # start the i-th engine and wait until it is ready
    max_restarts: int  # of all engines together
    say: Callable[[str], None] = lambda text: None  # tell the user


@dataclass(slots=True)
class _Call:
    """A running `generate`."""

    arrived: asyncio.Queue[list[Finished] | RLVRError] = field(default_factory=asyncio.Queue)
    job_ids: list[str] = field(default_factory=list)


class EnginePool:
    """Engines that hold the same weights."""

    def __init__(
        self,
        engines: Sequence[Actor],
        *,
        deadline_s: float,
        max_concurrent: int | None = None,
        min_free: int = 1,
        restarts: EngineRestarts | None = None,
    ) -> None:
        """`deadline_s`: of a call, and of an engine without a decode step; `max_concurrent`:
        completions of an engine at a time, None: deal all jobs at once; `min_free`: free places
        of a busy engine before it gets more jobs, together.
        """
        self._client = uuid.uuid4().hex[:12]
        self._lanes = [
            EngineLane(actor=actor, owner=self, client=self._client, deadline_s=deadline_s)
            for actor in engines
        ]
        self._deadline_s = deadline_s
        self._max_concurrent = max_concurrent
        self._min_free = min_free
        self._restarts = restarts
        self._num_restarts = 0
        self._queue: deque[EngineJob] = deque()
        self._calls: dict[str, _Call] = {}  # by job id
        self._ids = itertools.count()
        self._reviving: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()  # an engine came up, or the last one is lost
        self._weights = asyncio.Lock()  # a restarted engine must not miss a sync
        self._last_error: ActorDied | None = None
        self.prepare: Callable[[Actor], Awaitable[None]] | None = None
        """Gives a restarted engine the current weights, and verifies them."""
        self.on_room: Callable[[], None] | None = None
        """Called when completions have ended, so that others may be started."""

    @property
    def num_restarts(self) -> int:
        """Number of engines that were started again."""
        return self._num_restarts

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        """Yield chunks of finished completions, one completion per request.

        Raises:
            CheckError: an engine holds older weights than `policy_version`.
            ActorDied: all engines died, and none could be started again.
        """
        call = _Call()
        jobs = self._jobs(requests, sampling, policy_version)
        call.job_ids = [job.id for job in jobs]
        self._calls.update(dict.fromkeys(call.job_ids, call))
        num_left = len(requests)
        try:
            self._start(jobs)
            while num_left:
                arrived = await call.arrived.get()
                if isinstance(arrived, RLVRError):
                    raise arrived
                num_left -= len(arrived)
                yield arrived
        finally:
            for job_id in call.job_ids:
                self._calls.pop(job_id, None)
            if num_left:
                self._abandon(call.job_ids)

    def room(self) -> int:
        """Return how many completions the engines can take beyond those that wait for them."""
        limit = self._max_concurrent
        assert limit is not None, "dealt jobs have no limit"
        free = sum(max(0, limit - lane.load) for lane in self._lanes if lane.is_up)
        return free - sum(len(job.requests) for job in self._queue)

    def take_idle_s(self) -> float:
        """Return the mean over engines of the seconds without a job since the last call."""
        return sum(lane.take_idle_s() for lane in self._lanes) / len(self._lanes)

    def describe(self) -> list[str]:
        """Return lines about the engines and the requests under way."""
        return [*(lane.describe() for lane in self._lanes), f"{len(self._queue)} jobs are waiting"]

    async def load_weights(self, packed_ref: Any, *, is_restart: bool = False) -> None:
        """Load weights into all engines from a reference into the object store.

        An engine that dies meanwhile gets them when it is started again.
        """
        await self._call_up("load_weights", packed_ref, is_restart=is_restart)

    async def probe(self, token_ids: NDArray[np.int32]) -> list[NDArray[np.float32]]:
        """Return the log-probs [T-1] of a fixed text from each engine."""
        return await self._call_up("probe", token_ids)

    # What lanes call

    def deliver(self, job_id: str, finished: Sequence[Finished]) -> None:
        """Hand finished completions to their call, and give their engine more to do."""
        if job_id in self._calls:
            self._calls[job_id].arrived.put_nowait(list(finished))
        if self._queue:
            self._assign()
        if self.on_room is not None:
            self.on_room()

    def fail(self, job_id: str, error: RLVRError) -> None:
        """End the call of a job."""
        if job_id in self._calls:
            self._calls[job_id].arrived.put_nowait(error)

    def lost(self, lane: EngineLane, error: ActorDied) -> None:
        """Put the jobs of a dead engine before all others, and start it again."""
        self._last_error = error
        logger.warning("%s", error)
        self._queue.extendleft(reversed(lane.take_back()))
        restarts = self._restarts
        if restarts is not None and self._num_restarts < restarts.max_restarts:
            self._num_restarts += 1
            restarts.say(f"{error}; starting it again")
            task = asyncio.ensure_future(self._revive(lane, restarts))
            self._reviving.add(task)
            task.add_done_callback(self._reviving.discard)
        elif not self._can_serve():
            self._fail_all(error)
        self._assign()

    # Jobs

    def _jobs(
        self, requests: Sequence[Request], sampling: SamplingSpec, policy_version: int
    ) -> list[EngineJob]:
        by_task: dict[int, list[Request]] = {}
        for request in requests:
            by_task.setdefault(request.task_index, []).append(request)
        return [
            EngineJob(
                id=str(next(self._ids)),
                client=self._client,
                requests=some,
                sampling=sampling,
                policy_version=policy_version,
            )
            for some in by_task.values()
        ]

    def _start(self, jobs: Sequence[EngineJob]) -> None:
        if not self._can_serve():
            assert self._last_error is not None
            raise self._last_error
        up = [lane for lane in self._lanes if lane.is_up]
        if self._max_concurrent is None and up:
            for i, lane in enumerate(up):
                if share := jobs[i :: len(up)]:
                    lane.assign(share)
        else:
            self._queue.extend(jobs)
            self._assign()

    def _assign(self) -> None:
        """Give waiting jobs to the engines with the fewest completions, while they have room."""
        shares: dict[int, list[EngineJob]] = {}
        limit = self._max_concurrent
        loads = {
            i: lane.load
            for i, lane in enumerate(self._lanes)
            if lane.is_up
            and (limit is None or not lane.load or limit - lane.load >= self._min_free)
        }
        while self._queue and loads:
            i = min(loads, key=lambda i: loads[i])
            size = len(self._queue[0].requests)
            if limit is not None and loads[i] and loads[i] + size > limit:
                break
            shares.setdefault(i, []).append(self._queue.popleft())
            loads[i] += size
        for i, share in shares.items():
            self._lanes[i].assign(share)

    def _abandon(self, job_ids: Sequence[str]) -> None:
        unwanted = set(job_ids)
        self._queue = deque(job for job in self._queue if job.id not in unwanted)
        for lane in self._lanes:
            lane.abandon(job_ids)

    # Engines

    async def _revive(self, lane: EngineLane, restarts: EngineRestarts) -> None:
        """Start a lane's engine again; it serves once it holds the current weights."""
        index = self._lanes.index(lane)
        try:
            actor = await restarts.start(index)
            async with self._weights:
                if self.prepare is not None:
                    await self.prepare(actor)
                lane.actor, lane.is_up = actor, True
        except RLVRError as error:
            self._reviving.discard(asyncio.current_task())
            if isinstance(error, ActorDied):
                self.lost(lane, error)
            else:
                self._fail_all(error)
            return
        logger.warning("%s is started again", actor.name)
        self._announce()
        self._assign()

    def _can_serve(self) -> bool:
        return any(lane.is_up for lane in self._lanes) or bool(self._reviving)

    def _fail_all(self, error: RLVRError) -> None:
        for call in {id(call): call for call in self._calls.values()}.values():
            call.arrived.put_nowait(error)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _call_up(self, method: str, *args: Any, **options: Any) -> list[Any]:
        """Call all engines that are up; wait for one if none is. Return their results.

        Raises ActorDied if no engine is left.
        """
        while True:
            lanes = [lane for lane in self._lanes if lane.is_up]
            if lanes:
                calls = (
                    lane.actor.call(method, *args, deadline_s=self._deadline_s, **options)
                    for lane in lanes
                )
                async with self._weights:
                    found = await asyncio.gather(*calls, return_exceptions=True)
                for lane, result in zip(lanes, found, strict=True):
                    if isinstance(result, ActorDied):
                        lane.die(result)
                    elif isinstance(result, BaseException):
                        raise result
                results = [one for one in found if not isinstance(one, BaseException)]
                if results:
                    return results
            if not self._can_serve():
                assert self._last_error is not None
                raise self._last_error
            await self._changed.wait()
