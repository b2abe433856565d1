"""A mixture of task sources with exact shares; a source may start later than the others.

    sources  math weight 3            general weight 1, from task 8
    index    0 m  1 m  2 m ... 7 m  | 8 m  9 g  10 m  11 m | 12 ...

The size of a block is the sum of the weights, and each source has its share of every block, at
positions drawn from (seed, block). A task depends on its index alone, so a resumed run repeats.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlvr.data.tasks.task_list import TaskSource
from rlvr.data.tasks.task_stream import TaskStream
from rlvr.types import Task

__all__ = ["Mixture", "MixtureSource"]


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
        """Raises ValueError if no source starts at index 0."""
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
