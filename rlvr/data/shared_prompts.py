"""Held-out prompts that also occur in training: on them an evaluation measures memory.

Prompts are the same if their texts are, up to white space. Of an endless source, the first
NUM_ENDLESS tasks are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from rlvr.data.tasks import TaskSource, place_of
from rlvr.types import Prompt

__all__ = ["describe_shared_prompts"]

NUM_ENDLESS = 2000


def describe_shared_prompts(
    held_out: TaskSource, training: Mapping[str, TaskSource], *, section: str
) -> str | None:
    """Return a line with the number of shared prompts and an example.

    held_out: the tasks of `section`. training: sections of the recipe with their tasks. Without a
    shared prompt, None, or a line that tells how many tasks of an endless source were compared.
    """
    tasks = [held_out.task(i) for i in range(held_out.num_tasks or 0)]
    texts = {_text(task.prompt): task for task in tasks}
    places: dict[str, str] = {}  # text -> place of its first training task
    for source in training.values():
        num_tasks = NUM_ENDLESS if source.num_tasks is None else source.num_tasks
        for task in map(source.task, range(num_tasks)):
            if (text := _text(task.prompt)) in texts:
                places.setdefault(text, place_of(task, source))
    endless = [name for name, source in training.items() if source.num_tasks is None]
    part = f" (the first {NUM_ENDLESS:,} tasks of {', '.join(endless)})" if endless else ""
    if not places:
        return f"{section}: no prompt occurs in training{part}" if part else None
    num_shared = sum(_text(task.prompt) in places for task in tasks)
    text, place = next(iter(places.items()))
    return (
        f"warning: {section}: {num_shared:,} of {len(tasks):,} prompts also occur in "
        f"training{part}, e.g. {place_of(texts[text], held_out)} is {place}"
    )


def _text(prompt: Prompt) -> str:
    messages = prompt if isinstance(prompt, str) else json.dumps([dict(one) for one in prompt])
    return " ".join(messages.split())
