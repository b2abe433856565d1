"""The toy world as task sources: training tasks without end, held-out tasks as a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rlvr.data.tasks import TaskList, TaskSource
from rlvr.errors import ConfigError
from rlvr.toy.problems import heldout_tasks, problem
from rlvr.toy.programs import heldout_programs, program_task
from rlvr.toy.toy_requests import heldout_requests, request_task
from rlvr.types import Task

__all__ = ["ToyTasks", "open_programs", "open_requests", "open_toy"]

NUM_HELDOUT = 256  # if the recipe does not set num_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyTasks:
    """Training tasks of one family, made on demand."""

    name: str
    make_task: Callable[..., Task]  # (index, *, seed)
    seed: int
    num_tasks: int | None  # None: endless

    def task(self, index: int) -> Task:
        return self.make_task(index, seed=self.seed)


def _open(
    name: str,
    make_task: Callable[..., Task],
    make_heldout: Callable[..., list[Task]],  # (num_tasks, *, seed); ValueError for too many
    *,
    path: str | None,
    split: str | None,
    num_tasks: int | None,
    seed: int,
) -> TaskSource:
    """Open one family; split "train" (the default) or "heldout". Raises ConfigError."""
    if path is not None:
        raise ConfigError(f"source {name} makes its own tasks; leave path={path} out")
    if split in (None, "train"):
        return ToyTasks(name=name, make_task=make_task, seed=seed, num_tasks=num_tasks)
    if split != "heldout":
        raise ConfigError(f"source {name} has no split {split!r}; allowed: train, heldout")
    try:
        tasks = make_heldout(num_tasks or NUM_HELDOUT, seed=seed)
    except ValueError as error:
        raise ConfigError(f"source {name}, split heldout: {error}") from error
    return TaskList(name=name, tasks=tuple(tasks))


open_toy = partial(_open, "toy", problem, heldout_tasks)
open_programs = partial(_open, "toy_programs", program_task, heldout_programs)
open_requests = partial(_open, "toy_requests", request_task, heldout_requests)
