"""Prompts that training and evaluation share: counted, and one of them named."""

from __future__ import annotations

import json
from pathlib import Path

from rlvr.data.shared_prompts import NUM_ENDLESS, describe_shared_prompts
from rlvr.data.tasks import TaskList, TaskSource, open_tasks
from rlvr.toy.task_source import ToyTasks
from rlvr.types import Prompt, Task


def listed(name: str, *prompts: Prompt) -> TaskList:
    tasks = tuple(Task(id=f"{name}/{i}", prompt=prompt) for i, prompt in enumerate(prompts))
    return TaskList(name=name, tasks=tasks)


def endless(*, at: int) -> TaskSource:
    """Tasks of which one has the prompt "2+3?"."""

    def make(index: int, *, seed: int) -> Task:
        return Task(id=f"endless/{index}", prompt="2+3?" if index == at else f"{index}?")

    return ToyTasks(name="endless", make_task=make, seed=0, num_tasks=None)


def line_of(held_out: TaskSource, **training: TaskSource) -> str | None:
    return describe_shared_prompts(held_out, training, section="eval.tasks")


def test_other_prompts_need_no_line() -> None:
    assert line_of(listed("a", "2+3?", "1+1?"), tasks=listed("b", "2+4?", "1+1")) is None


def test_shared_prompts_are_counted_over_all_training_sources_and_one_is_named() -> None:
    held_out = listed("a", "9?", " 2+3?\n", "1+1?", "2+3?")
    first, second = listed("b", "4?", "2+3?", "2+3?"), listed("c", "1+1?")
    assert line_of(held_out, tasks=first, more=second) == (
        "warning: eval.tasks: 3 of 4 prompts also occur in training, e.g. task a/3 is task b/1"
    )


def test_rows_of_a_file_are_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n}?"}) + "\n" for n in range(3)))
    line = line_of(listed("a", "2?"), tasks=open_tasks("jsonl", path=str(path)))
    assert line is not None and line.endswith(f"e.g. task a/0 is {path}:3")


def test_conversations_are_compared_message_by_message() -> None:
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+3?"}
    held_out = listed("a", [system, user])
    assert line_of(held_out, tasks=listed("b", [user])) is None
    assert "1 of 1 prompts" in str(line_of(held_out, tasks=listed("b", [system, user])))


def test_of_an_endless_source_the_first_tasks_are_compared_and_the_line_says_so() -> None:
    held_out = listed("a", "2+3?")
    part = "training (the first 2,000 tasks of tasks)"
    assert line_of(held_out, tasks=endless(at=NUM_ENDLESS - 1)) == (
        f"warning: eval.tasks: 1 of 1 prompts also occur in {part}, e.g. task a/0 is "
        "task endless/1999"
    )
    assert line_of(held_out, tasks=endless(at=NUM_ENDLESS)) == (
        f"eval.tasks: no prompt occurs in {part}"
    )
