"""Task sources, and the order in which their tasks are trained.

A TaskSource gives tasks by index; TaskList holds them in memory.

TaskStream shuffles one source; a resumed run seeks to the cursor of its checkpoint:

    cursor   0 1 2 3 | 4 5 6 7 | 8 ...          num_tasks = 4
    epoch       0    |    1    | 2 ...          each task exactly once per epoch
    index    2 0 3 1 | 1 3 0 2 | ...            permutation drawn from (seed, epoch) alone

Mixture gives each source its exact share of every block, at positions drawn from (seed, block). The
size of a block is the sum of the weights; a source may start later than the others:

    sources  math weight 3            general weight 1, from task 8
    index    0 m  1 m  2 m ... 7 m  | 8 m  9 g  10 m  11 m | 12 ...
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["Mixture", "MixtureSource", "TaskList", "TaskSource", "TaskStream", "place_of"]


@runtime_checkable
class TaskSource(Protocol):
    """Tasks by index; an index maps to the same task in every process."""

    @property
    def name(self) -> str: ...

    @property
    def num_tasks(self) -> int | None:
        """Number of tasks; None: endless."""

    def task(self, index: int) -> Task:
        """Return the task at `index`, 0 <= index < num_tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """Tasks in memory. Raises ValueError for a repeated id: seeds and resume depend on ids."""

    name: str
    tasks: tuple[Task, ...]
    skipped: tuple[str, ...] = ()  # rows without a task: "train.jsonl.gz:887: reason"
    origin: str | None = None  # file or data set that its ids count the rows of

    def __post_init__(self) -> None:
        counts = Counter(task.id for task in self.tasks)
        repeated = next((id for id, count in counts.items() if count > 1), None)
        if repeated is not None:
            raise ValueError(f"{self.name} has two tasks with the id {repeated!r}; ids are unique")

    @property
    def num_tasks(self) -> int:
        return len(self.tasks)

    def task(self, index: int) -> Task:
        return self.tasks[index]


def place_of(task: Task, source: TaskSource) -> str:
    """Return where a task comes from, for messages: "train.jsonl:17" or "task toy/17"."""
    origin = source.origin if isinstance(source, TaskList) else None
    return f"{origin}:{task.id.rpartition('/')[2]}" if origin else f"task {task.id}"


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

    def seek(self, cursor: int) -> None:
        """Continue with the task at `cursor`."""
        assert cursor >= 0, cursor
        self._cursor = cursor

    def take(self, num_tasks: int) -> list[Task]:
        """Return the next `num_tasks` tasks. Raises ConfigError if an epoch has fewer."""
        self.check_batch(num_tasks)
        tasks = [self.at(self._cursor + i) for i in range(num_tasks)]
        self._cursor += num_tasks
        return tasks

    def check_batch(self, num_tasks: int) -> None:
        """Raise ConfigError if an epoch has fewer tasks."""
        available = self.source.num_tasks
        if available is not None and num_tasks > available:
            raise ConfigError(
                f"tasks: a batch of {num_tasks} tasks cannot be made of the {available} tasks of "
                f"{self.source.name}: at most {available} per step, or add tasks"
            )

    def at(self, cursor: int) -> Task:
        """Return the task at a position, counted over epochs."""
        if self.source.num_tasks is None:
            return self.source.task(cursor)
        epoch, place = divmod(cursor, self.source.num_tasks)
        if epoch != self._epoch:
            generator = np.random.default_rng((self.seed, epoch))
            self._order = generator.permutation(self.source.num_tasks)
            self._epoch = epoch
        return self.source.task(int(self._order[place]))


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSource:
    """One source of a mixture."""

    source: TaskSource
    weight: int  # tasks per block
    from_index: int = 0  # first index of the mixture at which the source takes part


class Mixture:
    """An endless TaskSource; each of its sources is shuffled per epoch, as in a TaskStream."""

    num_tasks: int | None = None

    def __init__(self, sources: Sequence[MixtureSource], *, seed: int) -> None:
        """Raise ValueError if no source starts at index 0."""
        if not any(one.from_index == 0 for one in sources):
            raise ValueError("at least one source must start at the first step")
        self.name = " and ".join(one.source.name for one in sources)
        self._sources = tuple(sources)
        self._seed = seed
        self._streams = [TaskStream(one.source, seed=seed) for one in sources]
        self._starts = sorted({one.from_index for one in sources})  # a phase begins at each

    def task(self, index: int) -> Task:
        """Return the task at `index`; its id begins with the number of its source: `1:gsm8k/887`.

        The position in the source's stream is the number of its tasks before `index`.
        """
        phase = bisect_right(self._starts, index) - 1
        block, place = divmod(index - self._starts[phase], len(self._slots(phase)))
        order = self._order(phase, block)
        number = order[place]
        cursor = sum(self._num_in_phase(earlier, number) for earlier in range(phase))
        cursor += block * self._sources[number].weight + order[:place].count(number)
        stream = self._streams[number]
        stream.seek(cursor)
        (task,) = stream.take(1)
        return replace(task, id=f"{number}:{task.id}")

    def _slots(self, phase: int) -> list[int]:
        """The sources of a block, each repeated `weight` times."""
        start = self._starts[phase]
        return [
            number
            for number, one in enumerate(self._sources)
            if one.from_index <= start
            for _ in range(one.weight)
        ]

    def _order(self, phase: int, block: int) -> list[int]:
        rng = np.random.default_rng((self._seed, phase, block))
        return [int(number) for number in rng.permutation(self._slots(phase))]

    def _num_in_phase(self, phase: int, number: int) -> int:
        """Tasks of a source in a finished phase, its incomplete last block included."""
        slots = self._slots(phase)
        blocks, rest = divmod(self._starts[phase + 1] - self._starts[phase], len(slots))
        return blocks * slots.count(number) + self._order(phase, blocks)[:rest].count(number)
