"""Grading: the reward actor, and the pool that distributes completions over several of them.

    grade(group) --+                      +--> rewards_0: one call at a time
    grade(group) --+--> what is waiting --+
    grade(group) --+                      +--> rewards_1 died: a fresh one grades the same again

A worker that is free takes its share of what is waiting, so calls are few when there is much to
grade, and nothing waits when there is little. A grade does not depend on the completions that
happen to be graded with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sandbox
from rewards import RewardMix, RewardResult, shutdown
from rlvr.cluster.processes import redirect_output
from rlvr.errors import ActorDied, ActorFailed
from rlvr.grpo.grading_queue import GradingQueue, Share
from rlvr.run.trace import span
from rlvr.types import Ungraded

if TYPE_CHECKING:
    from rlvr.cluster.actors import Actor

__all__ = ["GraderPool", "RewardWorker"]

logger = logging.getLogger(__name__)


class RewardWorker:
    """Ray actor that grades completions; untrusted text is evaluated in its child processes."""

    def __init__(
        self, rewards: Mapping[str, Mapping[str, Any]], log_path: str, min_tier: str = "landlock"
    ) -> None:
        """`min_tier`: weakest allowed sandbox tier, checked if a reward runs programs."""
        redirect_output(log_path)
        self._mix = RewardMix(rewards, timed=span)
        if self._mix.uses_sandbox:
            sandbox.require(min_tier)

    def ready(self) -> int:
        """Return the process id once the rewards are loaded."""
        return os.getpid()

    def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        """Return one result for each completion.

        Completions whose tasks have other columns are graded apart: a reward would get None for a
        column that only the others have.
        """
        alike: defaultdict[frozenset[str], list[int]] = defaultdict(list)
        for i, row in enumerate(ungraded.columns):
            alike[frozenset(row)].append(i)
        results: dict[int, RewardResult] = {}
        with span("grade", num_completions=len(ungraded.texts)):
            for rows in alike.values():
                results.update(zip(rows, self._grade(ungraded, rows), strict=True))
        return [results[i] for i in range(len(results))]

    def _grade(self, ungraded: Ungraded, rows: Sequence[int]) -> list[RewardResult]:
        """Grade completions of equal columns; a column that only `only` reads may be missing."""
        names = {*ungraded.columns[rows[0]], *self._mix.only_columns}
        prompts, ids = ungraded.prompts, ungraded.completion_ids
        return self._mix.grade(
            [ungraded.texts[i] for i in rows],
            {name: [ungraded.columns[i].get(name) for i in rows] for name in names},
            prompts=None if prompts is None else [prompts[i] for i in rows],
            completion_ids=None if ids is None else [ids[i].tolist() for i in rows],
            think_prefilled=ungraded.think_prefilled,
        )

    def close(self) -> None:
        """End the child processes."""
        shutdown()
        sandbox.shutdown()


class GraderPool:
    """Reward actors, each with one call at a time.

    start: starts worker i again and waits until it is ready. wants, columns: RewardMix.wants and
    RewardMix.accepted_columns. deadline_s: of a call.
    """

    def __init__(
        self,
        workers: Sequence[Actor],
        *,
        start: Callable[[int], Awaitable[Actor]],
        wants: Collection[str] = (),
        columns: Collection[str] | None = None,
        deadline_s: float,
    ) -> None:
        self._workers = list(workers)
        self._start = start
        self._wants = wants
        self._columns = columns
        self._deadline_s = deadline_s
        self._queue = GradingQueue()
        self._idle = deque(range(len(workers)))
        self._busy: dict[int, tuple[int, float]] = {}  # worker: completions, time.monotonic
        self._serving: set[asyncio.Task[None]] = set()
        self._is_dispatch_due = False
        self.num_restarts = 0  # workers that were started again

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        """Return one result for each completion, in order.

        Raises:
            ActorFailed: a reward raised an exception, or ended its worker twice.
            ActorDied: a worker died, and no other one starts.
        """
        done = self._queue.add(self._needed(ungraded))
        if not self._is_dispatch_due:  # after all calls that come in this turn of the loop
            self._is_dispatch_due = True
            asyncio.get_running_loop().call_soon(self._dispatch)
        return await done

    def describe(self) -> list[str]:
        """Return lines about the workers and the completions under way."""
        now = time.monotonic()
        lines = [
            f"{self._workers[i].name}: {num_completions} completions for {now - since:.1f} s"
            for i, (num_completions, since) in sorted(self._busy.items())
        ]
        return [*lines, f"{self._queue.num_completions} completions wait to be graded"]

    def _dispatch(self) -> None:
        """Give each idle worker its share of what is waiting."""
        self._is_dispatch_due = False
        while self._idle and (share := self._queue.take(num_idle=len(self._idle))):
            i = self._idle.popleft()
            self._busy[i] = share.num_completions, time.monotonic()
            task = asyncio.create_task(self._serve(i, share))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, i: int, share: Share) -> None:
        try:
            share.deliver(await self._graded(i, share.ungraded))
        except Exception as error:  # raised where the grades are awaited
            share.fail(error)
        del self._busy[i]
        self._idle.append(i)
        self._dispatch()

    async def _graded(self, i: int, ungraded: Ungraded) -> list[RewardResult]:
        """Grade on worker i; if it dies or hangs, once more on a fresh one."""
        try:
            return await self._call(i, ungraded)
        except ActorFailed:
            raise
        except ActorDied as died:
            logger.warning("%s; %d completions are graded again", died, len(ungraded.texts))
        await self._restart(i)
        try:
            return await self._call(i, ungraded)
        except ActorFailed:
            raise
        except ActorDied as died:
            raise ActorFailed(
                f"{died}; it died twice while grading the same {len(ungraded.texts)} completions"
            ) from died

    async def _call(self, i: int, ungraded: Ungraded) -> list[RewardResult]:
        return await self._workers[i].call("grade", ungraded, deadline_s=self._deadline_s)

    async def _restart(self, i: int) -> None:
        self._workers[i].kill()  # it may hang
        try:
            self._workers[i] = await self._start(i)
        except ActorFailed:
            raise
        except ActorDied:  # Ray may place it on the node that has just left
            self._workers[i] = await self._start(i)
        self.num_restarts += 1

    def _needed(self, ungraded: Ungraded) -> Ungraded:
        """Drop the fields and columns that no reward takes, to save the transfer."""
        kept = self._columns
        return replace(
            ungraded,
            columns=ungraded.columns
            if kept is None
            else [{k: row[k] for k in row.keys() & kept} for row in ungraded.columns],
            prompts=ungraded.prompts if "prompts" in self._wants else None,
            completion_ids=ungraded.completion_ids if "completion_ids" in self._wants else None,
        )
