"""The order in which tasks are trained: a seeded shuffle for each epoch, and a cursor.

    cursor   0 1 2 3 | 4 5 6 7 | 8 ...          num_tasks = 4
    epoch       0    |    1    | 2 ...          each task exactly once an epoch
    index    2 0 3 1 | 1 3 0 2 | ...            permutation drawn from (seed, epoch) alone

A run that was killed seeks to the cursor of its checkpoint and goes on as if nothing had happened.
A batch that crosses the end of an epoch may hold one task twice, under the same id.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlvr.data.tasks.source import TaskSource
from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["TaskStream"]


class TaskStream:
    """Deals out a source for ever; one without end is dealt out in its own order."""

    def __init__(self, source: TaskSource, *, seed: int) -> None:
        if source.num_tasks == 0:
            raise ConfigError(f"tasks: {source.name} holds no task")
        self.source = source
        self.seed = seed
        self._cursor = 0
        self._epoch = -1  # that of _order
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    @property
    def cursor(self) -> int:
        """Tasks taken so far, counted over epochs."""
        return self._cursor

    @property
    def epoch(self) -> int:
        """The epoch of the next task; 0 where the source has no end."""
        return self._cursor // self.source.num_tasks if self.source.num_tasks else 0

    def seek(self, cursor: int) -> None:
        """Makes `cursor` the place of the next task; draws at most one permutation."""
        assert cursor >= 0, cursor
        self._cursor = cursor

    def take(self, num_tasks: int) -> list[Task]:
        """The next `num_tasks` tasks. ConfigError where that is more than an epoch holds."""
        available = self.source.num_tasks
        if available is not None and num_tasks > available:
            raise ConfigError(
                f"tasks: a batch of {num_tasks} tasks cannot be made of the {available} tasks of "
                f"{self.source.name}: at most {available} a step, or add tasks"
            )
        tasks = [self._task_at(self._cursor + i) for i in range(num_tasks)]
        self._cursor += num_tasks
        return tasks

    def _task_at(self, cursor: int) -> Task:
        if self.source.num_tasks is None:
            return self.source.task(cursor)
        epoch, place = divmod(cursor, self.source.num_tasks)
        if epoch != self._epoch:
            generator = np.random.default_rng((self.seed, epoch))
            self._order = generator.permutation(self.source.num_tasks)
            self._epoch = epoch
        return self.source.task(int(self._order[place]))
