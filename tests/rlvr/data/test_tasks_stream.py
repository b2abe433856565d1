"""The order of tasks: once per epoch, reproducible from any cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.data.tasks import TaskList, TaskStream, open_tasks
from rlvr.errors import ConfigError
from rlvr.types import Task


def numbered(num_tasks: int) -> TaskList:
    tasks = tuple(Task(id=f"n/{i}", prompt=f"{i}?") for i in range(num_tasks))
    return TaskList(name="numbered", tasks=tasks)


def test_each_task_comes_once_an_epoch_and_epochs_differ() -> None:
    stream = TaskStream(numbered(50), seed=1)
    epochs = [[task.id for task in stream.take(50)] for _ in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert all(len(set(epoch)) == 50 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert stream.cursor == 150


def test_another_seed_is_another_order() -> None:
    assert TaskStream(numbered(50), seed=1).take(50) != TaskStream(numbered(50), seed=2).take(50)


@given(cursor=st.integers(0, 40), taken=st.integers(0, 40))
def test_a_resumed_stream_repeats_exactly(cursor: int, taken: int) -> None:
    whole = TaskStream(numbered(7), seed=5)
    order = [whole.take(1)[0] for _ in range(50)]
    stream = TaskStream(numbered(7), seed=5)
    for _ in range(taken):  # what was prefetched and is forgotten
        stream.take(1)
    stream.seek(cursor)
    assert stream.take(7) == order[cursor : cursor + 7]


def test_a_batch_crosses_the_end_of_an_epoch() -> None:
    one, other = TaskStream(numbered(4), seed=0), TaskStream(numbered(4), seed=0)
    assert one.take(3) + one.take(3) + one.take(2) == other.take(4) + other.take(4)


def test_a_batch_larger_than_the_source_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch of 5 tasks .* the 4 tasks .* at most 4 per step"):
        TaskStream(numbered(4), seed=0).take(5)
    with pytest.raises(ConfigError, match="holds no task"):
        TaskStream(numbered(0), seed=0)


def test_an_endless_source_keeps_its_own_order() -> None:
    source = open_tasks("toy", seed=3)
    stream = TaskStream(source, seed=1)
    stream.seek(1000)
    assert stream.take(2) == [source.task(1000), source.task(1001)]


def test_two_tasks_with_one_id_are_refused() -> None:
    task = Task(id="n/1", prompt="1?")
    with pytest.raises(ValueError, match="twins has two tasks with the id 'n/1'"):
        TaskList(name="twins", tasks=(task, task))
