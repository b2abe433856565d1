"""The toy world as a task source: training problems without end, held-out ones as a list."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.errors import ConfigError
from rlvr.tasks.source import TaskList, TaskSource
from rlvr.toy.problems import heldout_tasks, problem
from rlvr.types import Task

__all__ = ["ToyTasks", "open_toy"]

NUM_HELDOUT = 256  # where the recipe does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyTasks:
    """Training problems by index, made when they are asked for."""

    seed: int
    num_tasks: int | None = None  # None: without end
    name: str = "toy"

    def task(self, index: int) -> Task:
        return problem(index, split="train", seed=self.seed)


def open_toy(
    *, path: str | None, split: str | None, num_tasks: int | None, seed: int
) -> TaskSource:
    """Problems of the split "train" (the default) or "heldout". Raises ConfigError."""
    if path is not None:
        raise ConfigError(f"source toy makes its own tasks; leave path={path} out")
    if split in (None, "train"):
        return ToyTasks(seed=seed, num_tasks=num_tasks)
    if split != "heldout":
        raise ConfigError(f"source toy has no split {split!r}; allowed: train, heldout")
    try:
        tasks = heldout_tasks(num_tasks or NUM_HELDOUT, seed=seed)
    except ValueError as error:
        raise ConfigError(f"source toy, split heldout: {error}") from error
    return TaskList(name="toy", tasks=tuple(tasks))
