"""Grading completions: the reward actor, and the pool that shares chunks out among several of
them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from rewards import RewardMix, RewardResult, shutdown
from rlvr.actors import Actor
from rlvr.processes import redirect_output

__all__ = ["GraderPool", "RewardWorker"]


class RewardWorker:
    """The actor class. What untrusted text can hang or crash runs in children of this process, not
    in it.
    """

    def __init__(self, rewards: Mapping[str, Mapping[str, Any]], log_path: str) -> None:
        redirect_output(log_path)
        self._mix = RewardMix(rewards)

    def ready(self) -> int:
        """The process id, once the rewards are loaded."""
        return os.getpid()

    def grade(
        self, texts: Sequence[str], columns: Sequence[Mapping[str, Any]], thought_open: bool
    ) -> list[RewardResult]:
        """One result per completion; `columns` are the tasks' columns, one mapping per
        completion.
        """
        names = dict.fromkeys(name for row in columns for name in row)
        by_name = {name: [row.get(name) for row in columns] for name in names}
        return self._mix.grade(texts, by_name, thought_open=thought_open)

    def close(self) -> None:
        """End the children."""
        shutdown()


class GraderPool:
    """Reward actors in turn."""

    def __init__(self, workers: Sequence[Actor], *, deadline_s: float) -> None:
        self._workers = itertools.cycle(workers)
        self._deadline_s = deadline_s

    async def grade(
        self, texts: Sequence[str], columns: Sequence[Mapping[str, Any]], *, thought_open: bool
    ) -> list[RewardResult]:
        """One result per completion, in order."""
        worker = next(self._workers)
        return await worker.call("grade", texts, columns, thought_open, deadline_s=self._deadline_s)
