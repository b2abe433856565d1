"""What a supply of tasks looks like, and the plain one that is a tuple in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rlvr.types import Task

__all__ = ["SkippedRow", "TaskList", "TaskSource"]


@runtime_checkable
class TaskSource(Protocol):
    """Tasks by index: the same index gives the same task, in this process and in the next one."""

    @property
    def name(self) -> str: ...

    @property
    def num_tasks(self) -> int | None:
        """How many there are; None: the source never runs out."""

    def task(self, index: int) -> Task:
        """The task at `index`, 0 <= index < num_tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRow:
    """A row of which no task could be made, e.g. `SkippedRow(where="train.jsonl.gz:887", ...)`."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """Tasks in memory. Raises ValueError where two share an id: seeds and resume hang on it."""

    name: str
    tasks: tuple[Task, ...]
    skipped: tuple[SkippedRow, ...] = ()  # rows left out, in the order of the file

    def __post_init__(self) -> None:
        counts = Counter(task.id for task in self.tasks)
        repeated = next((id for id, count in counts.items() if count > 1), None)
        if repeated is not None:
            raise ValueError(
                f"the task id {repeated!r} stands twice in {self.name}; ids are unique"
            )

    @property
    def num_tasks(self) -> int:
        return len(self.tasks)

    def task(self, index: int) -> Task:
        return self.tasks[index]
