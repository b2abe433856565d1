"""The toy world as task sources: training tasks without end, held-out ones as a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlvr.data.tasks import TaskList, TaskSource
from rlvr.errors import ConfigError
from rlvr.toy.problems import heldout_tasks, problem
from rlvr.toy.programs import heldout_programs, program_task
from rlvr.toy.toy_requests import heldout_requests, request_task
from rlvr.types import Task

__all__ = ["ToyTasks", "open_programs", "open_requests", "open_toy"]

NUM_HELDOUT = 256  # where the recipe does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """One kind of task of the toy world."""

    name: str
    task: Callable[..., Task]  # (index, *, seed)
    heldout: Callable[..., list[Task]]  # (num_tasks, *, seed); ValueError for too many


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyTasks:
    """Training tasks of one family by index, made when they are asked for."""

    family: _Family
    seed: int
    num_tasks: int | None  # None: without end

    @property
    def name(self) -> str:
        return self.family.name

    def task(self, index: int) -> Task:
        return self.family.task(index, seed=self.seed)


PROBLEMS = _Family(name="toy", task=problem, heldout=heldout_tasks)
PROGRAMS = _Family(name="toy_programs", task=program_task, heldout=heldout_programs)
REQUESTS = _Family(name="toy_requests", task=request_task, heldout=heldout_requests)


def open_toy(**asked: Any) -> TaskSource:
    """Chains of sums and products; split "train" (the default) or "heldout". Raises ConfigError."""
    return _open(PROBLEMS, **asked)


def open_programs(**asked: Any) -> TaskSource:
    """Small functions to write; splits as of the problems. Raises ConfigError."""
    return _open(PROGRAMS, **asked)


def open_requests(**asked: Any) -> TaskSource:
    """Requests for kindness; splits as of the problems. Raises ConfigError."""
    return _open(REQUESTS, **asked)


def _open(
    family: _Family, *, path: str | None, split: str | None, num_tasks: int | None, seed: int
) -> TaskSource:
    if path is not None:
        raise ConfigError(f"source {family.name} makes its own tasks; leave path={path} out")
    if split in (None, "train"):
        return ToyTasks(family=family, seed=seed, num_tasks=num_tasks)
    if split != "heldout":
        raise ConfigError(f"source {family.name} has no split {split!r}; allowed: train, heldout")
    try:
        tasks = family.heldout(num_tasks or NUM_HELDOUT, seed=seed)
    except ValueError as error:
        raise ConfigError(f"source {family.name}, split heldout: {error}") from error
    return TaskList(name=family.name, tasks=tuple(tasks))
