"""The order in which tasks are trained: a seeded shuffle per epoch, and a cursor.

    cursor   0 1 2 3 | 4 5 6 7 | 8 ...          num_tasks = 4
    epoch       0    |    1    | 2 ...          each task exactly once per epoch
    index    2 0 3 1 | 1 3 0 2 | ...            permutation drawn from (seed, epoch) alone

A resumed run seeks to the cursor of its checkpoint. A batch that crosses the end of an epoch may
contain one task twice, under the same id.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlvr.data.tasks.task_list import TaskSource
from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["TaskStream"]


class TaskStream:
    """Endless tasks of a source; an endless source keeps its own order."""

    def __init__(self, source: TaskSource, *, seed: int) -> None:
        if source.num_tasks == 0:
            raise ConfigError(f"tasks: {source.name} holds no task")
        self.source = source
        self.seed = seed
        self._cursor = 0
        self._epoch = -1  # the epoch of _order
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    @property
    def cursor(self) -> int:
        """Number of tasks taken so far, over all epochs."""
        return self._cursor

    @property
    def epoch(self) -> int:
        """Epoch of the next task; 0 for an endless source."""
        return self._cursor // self.source.num_tasks if self.source.num_tasks else 0

    def seek(self, cursor: int) -> None:
        """Continue with the task at `cursor`."""
        assert cursor >= 0, cursor
        self._cursor = cursor

    def take(self, num_tasks: int) -> list[Task]:
        """Return the next `num_tasks` tasks. Raises ConfigError if an epoch has fewer."""
        available = self.source.num_tasks
        if available is not None and num_tasks > available:
            raise ConfigError(
                f"tasks: a batch of {num_tasks} tasks cannot be made of the {available} tasks of "
                f"{self.source.name}: at most {available} per step, or add tasks"
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
