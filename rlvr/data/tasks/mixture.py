"""Several sources as one: shares that are kept exactly, and sources that come in later.

    parts  math weight 3            general weight 1, from the 8th task on
    index  0 m  1 m  2 m ... 7 m  | 8 m  9 g  10 m  11 m | 12 ...

In each block of as many tasks as the weights add up to, every source has its share; where it stands
in the block is drawn from (seed, block). A task is a function of its index, so that a run that was
interrupted goes on with the task it would have had.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlvr.data.tasks.source import TaskSource
from rlvr.data.tasks.stream import TaskStream
from rlvr.types import Task

__all__ = ["Mixture", "Part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One source of a mixture."""

    source: TaskSource
    weight: int  # tasks in a block
    from_index: int = 0  # of the mixture's tasks; before it the others have the blocks alone


class Mixture:
    """A source without an end; each part is shuffled by epochs, as if it were alone."""

    num_tasks: int | None = None

    def __init__(self, parts: Sequence[Part], *, seed: int) -> None:
        """Raises ValueError where no part begins at 0."""
        if not any(part.from_index == 0 for part in parts):
            raise ValueError("one source at least has to be there from the first step on")
        self.name = " and ".join(part.source.name for part in parts)
        self._parts = tuple(parts)
        self._seed = seed
        self._streams = [TaskStream(part.source, seed=seed) for part in parts]
        self._starts = sorted({part.from_index for part in parts})

    def task(self, index: int) -> Task:
        """The task at `index`; its id names the part: `1:gsm8k/887`."""
        part, number = self._place(index)
        stream = self._streams[part]
        stream.seek(number)
        (task,) = stream.take(1)
        return replace(task, id=f"{part}:{task.id}")

    def _place(self, index: int) -> tuple[int, int]:
        """Which part has the task, and how many of its own came before."""
        phase = bisect_right(self._starts, index) - 1
        block, place = divmod(index - self._starts[phase], len(self._slots(phase)))
        order = self._order(phase, block)
        part = order[place]
        before = sum(self._num_before(earlier, part) for earlier in range(phase))
        return part, before + block * self._parts[part].weight + order[:place].count(part)

    def _slots(self, phase: int) -> list[int]:
        """The parts of a block, each as often as its weight says."""
        start = self._starts[phase]
        there = [i for i, part in enumerate(self._parts) if part.from_index <= start]
        return [i for i in there for _ in range(self._parts[i].weight)]

    def _order(self, phase: int, block: int) -> list[int]:
        rng = np.random.default_rng((self._seed, phase, block))
        return [int(i) for i in rng.permutation(self._slots(phase))]

    def _num_before(self, phase: int, part: int) -> int:
        """Tasks of a part in a phase that is over; a block that was cut short counts as far as it
        went.
        """
        slots = self._slots(phase)
        blocks, rest = divmod(self._starts[phase + 1] - self._starts[phase], len(slots))
        return blocks * slots.count(part) + self._order(phase, blocks)[:rest].count(part)
