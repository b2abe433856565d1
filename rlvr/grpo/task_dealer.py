"""The order of the tasks: those that were dealt and not trained, then new ones.

    stream --position--> drawn or skipped, by its pass rate --> dealt --> trained
                                                                  |
                                                  put back <------+ too old, interrupted

Positions count over epochs. A ledger of them is part of every checkpoint: whenever a run is
interrupted, each position is trained once.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from rlvr.config.sections import DifficultySection
from rlvr.data.tasks import TaskStream
from rlvr.types import Group, Ledger, Task

__all__ = ["DealtTask", "TaskDealer"]

FILE = "pass_rates.json"  # in a checkpoint
NEW_SHARE = 0.5  # weight of the latest group in a running pass rate


@dataclass(frozen=True, slots=True, kw_only=True)
class DealtTask:
    """A task with its position."""

    position: int
    task: Task


class TaskDealer:
    """Deals each position of a stream of tasks once, and again if it is put back."""

    def __init__(
        self, tasks: TaskStream, *, difficulty: DifficultySection | None = None, seed: int = 0
    ) -> None:
        self._tasks = tasks
        self._difficulty = difficulty
        self._seed = seed
        self._returned: list[int] = []  # a heap
        self._pass_rates: dict[str, float] = {}

    @property
    def ledger(self) -> Ledger:
        """The ledger if everything that is dealt were trained."""
        return Ledger(cursor=self._tasks.cursor, open=tuple(sorted(self._returned)))

    def seek(self, ledger: Ledger) -> None:
        """Continue where the ledger ends; its open positions come first."""
        self._tasks.seek(ledger.cursor)
        self._returned = list(ledger.open)

    def check_batch(self, num_tasks: int) -> None:
        """Raise ConfigError if an epoch has fewer tasks than a batch."""
        self._tasks.check_batch(num_tasks)

    def deal(self, num_tasks: int) -> list[DealtTask]:
        """Return the next tasks."""
        dealt: list[DealtTask] = []
        while len(dealt) < num_tasks:
            if self._returned:
                position = heapq.heappop(self._returned)
                dealt.append(DealtTask(position=position, task=self._tasks.at(position)))
                continue
            position = self._tasks.cursor
            (task,) = self._tasks.take(1)
            if not self._is_skipped(position, task):
                dealt.append(DealtTask(position=position, task=task))
        return dealt

    def put_back(self, positions: Iterable[int]) -> None:
        """Deal these positions again, before new ones."""
        for position in positions:
            heapq.heappush(self._returned, position)

    def note(self, group: Group, values: Sequence[float]) -> None:
        """Take the accuracies of a task's completions into its running pass rate."""
        if self._difficulty is None or not values:
            return
        new = sum(value >= 1 for value in values) / len(values)
        old = self._pass_rates.get(group.task.id, new)
        self._pass_rates[group.task.id] = old + NEW_SHARE * (new - old)

    def save(self, folder: Path) -> None:
        """Write the pass rates to a checkpoint folder, if they are used."""
        if self._difficulty is not None:
            (folder / FILE).write_text(json.dumps(self._pass_rates), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read the pass rates of a checkpoint folder; without a file all tasks are new."""
        path = folder / FILE
        self._pass_rates = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def _is_skipped(self, position: int, task: Task) -> bool:
        """Whether a task that is too easy or too hard is left out at this position."""
        section, rate = self._difficulty, self._pass_rates.get(task.id)
        if section is None or rate is None or section.low <= rate <= section.high:
            return False
        return _uniform(self._seed, position) >= section.outside_frac


def _uniform(*parts: int) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    digest = blake2b("/".join(map(str, ("difficulty", *parts))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
