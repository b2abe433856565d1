"""Several task sources as one: exact shares, late sources, tasks by index alone."""

from __future__ import annotations

from collections import Counter

import pytest

from rlvr.data.tasks import Mixture, MixtureSource, TaskList
from rlvr.types import Task


def source_of(name: str, num_tasks: int) -> TaskList:
    tasks = tuple(Task(id=f"{name}/{i}", prompt=f"{name} {i}") for i in range(num_tasks))
    return TaskList(name=name, tasks=tasks)


def mixture_source(
    name: str, num_tasks: int = 50, *, weight: int = 1, from_index: int = 0
) -> MixtureSource:
    return MixtureSource(source=source_of(name, num_tasks), weight=weight, from_index=from_index)


def names(mixture: Mixture, start: int, stop: int) -> Counter[str]:
    return Counter(mixture.task(i).id[2:].partition("/")[0] for i in range(start, stop))


def test_every_block_holds_the_shares() -> None:
    mixture = Mixture([mixture_source("math", weight=3), mixture_source("code")], seed=1)
    for start in range(0, 80, 4):
        assert names(mixture, start, start + 4) == {"math": 3, "code": 1}


def test_places_in_a_block_differ() -> None:
    mixture = Mixture([mixture_source("math", weight=3), mixture_source("code")], seed=1)
    places = {i % 4 for i in range(80) if mixture.task(i).id.startswith("1:")}
    assert places == {0, 1, 2, 3}


def test_a_late_source_starts_at_its_index() -> None:
    mixture = Mixture([mixture_source("math"), mixture_source("general", from_index=6)], seed=0)
    assert names(mixture, 0, 6) == {"math": 6}
    assert names(mixture, 6, 16) == {"math": 5, "general": 5}


def test_each_task_of_a_source_comes_once_an_epoch_also_across_phases() -> None:
    parts = [
        mixture_source("math", 20, weight=2),
        mixture_source("code", 7),
        mixture_source("late", 5, from_index=10),
    ]
    mixture = Mixture(parts, seed=3)
    seen = [mixture.task(i).id for i in range(34)]  # 10 before, then 24 in blocks of four
    math = [name for name in seen if name.startswith("0:")]
    assert len(set(math)) == len(math) >= 18
    late = [name for name in seen if name.startswith("2:")]
    assert len(late) == 6
    assert len(set(late[:5])) == 5


def test_a_task_is_a_function_of_its_index() -> None:
    parts = [mixture_source("math", weight=2), mixture_source("code", from_index=5)]
    forwards = [Mixture(parts, seed=2).task(i).id for i in range(30)]
    mixture = Mixture(parts, seed=2)
    assert [mixture.task(i).id for i in reversed(range(30))] == forwards[::-1]
    assert [Mixture(parts, seed=4).task(i).id for i in range(30)] != forwards


def test_a_mixture_without_a_first_source_is_refused() -> None:
    with pytest.raises(ValueError, match="first step"):
        Mixture([mixture_source("math", from_index=3)], seed=0)
