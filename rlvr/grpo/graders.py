"""Grading: the reward actor, and the pool that distributes completions over several of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sandbox
from rewards import RewardMix, RewardResult, shutdown
from rlvr.cluster.processes import redirect_output
from rlvr.run.trace import span
from rlvr.types import Ungraded

if TYPE_CHECKING:
    from rlvr.cluster.actors import Actor

__all__ = ["GraderPool", "RewardWorker"]


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
        """Return one result for each completion."""
        names = dict.fromkeys(name for row in ungraded.columns for name in row)
        columns = {name: [row.get(name) for row in ungraded.columns] for name in names}
        ids = ungraded.completion_ids
        with span("grade", num_completions=len(ungraded.texts)):
            return self._mix.grade(
                ungraded.texts,
                columns,
                prompts=ungraded.prompts,
                completion_ids=None if ids is None else [tokens.tolist() for tokens in ids],
                think_prefilled=ungraded.think_prefilled,
            )

    def close(self) -> None:
        """End the child processes."""
        shutdown()
        sandbox.shutdown()


class GraderPool:
    """Reward actors, called in turn.

    wants, columns: RewardMix.wants and RewardMix.accepted_columns.
    """

    def __init__(
        self,
        workers: Sequence[Actor],
        *,
        wants: Collection[str] = (),
        columns: Collection[str] | None = None,
        deadline_s: float,
    ) -> None:
        self._workers = itertools.cycle(workers)
        self._wants = wants
        self._columns = columns
        self._deadline_s = deadline_s

    async def grade(self, ungraded: Ungraded) -> list[RewardResult]:
        """Return one result for each completion, in order."""
        worker = next(self._workers)
        return await worker.call("grade", self._needed(ungraded), deadline_s=self._deadline_s)

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
