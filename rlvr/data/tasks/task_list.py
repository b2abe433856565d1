"""The interface of task sources, and the source that holds its tasks in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rlvr.types import Task

__all__ = ["TaskList", "TaskSource"]


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
