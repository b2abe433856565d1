"""Measure the prompts of a task source before a run, and deal with those that are too long.

    error      the run is refused, with the number of long prompts and the rows of the first
    filter     their tasks are left out; the others keep their order
    truncate   the start of their text is dropped, since the question tends to stand at its end; the
               template stays whole

Only prompts whose length in bytes allows for too many tokens are encoded, the longest first. The
result depends on the source, the template, the tokenizer and the limit alone, so that a resumed run
draws the same tasks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from rlvr.data.prompts import TemplateEncoder
from rlvr.data.tasks import TaskList, TaskSource, place_of
from rlvr.errors import ConfigError
from rlvr.types import Prompt, Task

__all__ = ["LongPrompts", "PromptLengths", "fit_prompts", "measure_prompts", "shortened"]

LongPrompts = Literal["error", "filter", "truncate"]

NUM_ENDLESS = 1000  # tasks of an endless source that are measured
NUM_ALWAYS = 1000  # prompts that are encoded in any case: the longest in bytes
NUM_NAMED = 3
BATCH = 512
ERROR_S = 2.0  # time for finding the prompts of a run that is refused anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLengths:
    """The lengths of a source's prompts."""

    num_tasks: int  # measured
    longest: int  # tokens, of those that were encoded
    long: Mapping[int, int]  # index of a task -> tokens of its prompt, over the limit
    is_complete: bool = True  # False: out of time, there may be more long ones


def fit_prompts(
    source: TaskSource, encoder: TemplateEncoder, *, policy: LongPrompts, section: str
) -> tuple[TaskSource, str]:
    """Return the tasks whose prompts fit, and a line that tells the lengths.

    Raises ConfigError: a prompt is too long under `error`; all are, or the template alone is; the
    source is endless and has a long one.
    """
    limit = encoder.max_prompt_tokens
    found = measure_prompts(source, encoder, seconds=ERROR_S if policy == "error" else None)
    if not found.long:
        first = "the first " if source.num_tasks is None else ""
        return source, (
            f"{section}: {first}{found.num_tasks:,} prompts, the longest of {found.longest} tokens "
            f"(limit {limit})"
        )
    named = _named(source, found, limit=limit)
    if source.num_tasks is None:
        raise ConfigError(
            f"{section}: {named}; raise it, shorten the prompts where they are made, or set "
            f"{section}.num_tasks, so that {section}.long_prompts=filter knows all tasks"
        )
    if policy == "error":
        raise ConfigError(
            f"{section}: {named}; raise it, or set {section}.long_prompts=filter (or truncate)"
        )
    tasks = list(map(source.task, range(source.num_tasks or 0)))
    if policy == "filter":
        kept = [task for i, task in enumerate(tasks) if i not in found.long]
        if not kept:
            raise ConfigError(f"{section}: {named}; filter leaves no task")
        return _task_list(source, kept), f"{section}: {named}; left out"
    for i, num_tokens in found.long.items():
        tasks[i] = shortened(tasks[i], encoder, num_tokens=num_tokens, section=section)
    return _task_list(source, tasks), f"{section}: {named}; the start of their text is dropped"


def measure_prompts(
    source: TaskSource, encoder: TemplateEncoder, *, seconds: float | None = None
) -> PromptLengths:
    """Find the prompts that exceed the limit; with `seconds`, stop after them once one is found."""
    num_tasks = NUM_ENDLESS if source.num_tasks is None else source.num_tasks
    tasks = list(map(source.task, range(num_tasks)))
    sizes = [_num_bytes(task.prompt) for task in tasks]
    frame = _frame_bytes(encoder)
    order = sorted(range(num_tasks), key=lambda i: -sizes[i])
    candidates = (
        i
        for place, i in enumerate(order)
        if place < NUM_ALWAYS
        # a token stands for at least one byte
        or sizes[i] + frame * _num_messages(tasks[i].prompt) > encoder.max_prompt_tokens
    )
    started, longest, is_complete = time.monotonic(), 0, True
    long: dict[int, int] = {}
    for batch in _batches(candidates):
        lengths = encoder.prompt_lengths([tasks[i] for i in batch])
        longest = max(longest, *lengths)
        pairs = zip(batch, lengths, strict=True)
        long |= {i: length for i, length in pairs if length > encoder.max_prompt_tokens}
        if long and seconds is not None and time.monotonic() - started > seconds:
            is_complete = False
            break
    return PromptLengths(
        num_tasks=num_tasks,
        longest=longest,
        long=dict(sorted(long.items())),
        is_complete=is_complete,
    )


def shortened(task: Task, encoder: TemplateEncoder, *, num_tokens: int, section: str) -> Task:
    """Return the task without the start of its text, or of the last message of a conversation, so
    that its prompt fits. Raises ConfigError: the rest of the prompt is too long by itself.
    """
    limit = encoder.max_prompt_tokens
    (rest,) = encoder.prompt_lengths([_with_text(task, " ")])
    text = _text(task.prompt)
    while num_tokens > limit:
        num_kept = min(len(text) - 1, len(text) * (limit - rest) // max(1, num_tokens - rest))
        if num_kept <= 0:
            raise ConfigError(
                f"{section}: task {task.id}: {rest} of at most {limit} prompt tokens belong to the "
                "template or to earlier messages; raise rollout.max_prompt_tokens"
            )
        text = text[-num_kept:]
        (num_tokens,) = encoder.prompt_lengths([_with_text(task, text)])
    return _with_text(task, text)


def _named(source: TaskSource, found: PromptLengths, *, limit: int) -> str:
    first = list(found.long.items())[:NUM_NAMED]
    rows = ", ".join(f"{place_of(source.task(i), source)} ({tokens} tokens)" for i, tokens in first)
    more = ", ..." if len(found.long) > NUM_NAMED else ""
    least = "" if found.is_complete else "at least "
    return (
        f"{least}{len(found.long):,} of {found.num_tasks:,} prompts exceed "
        f"rollout.max_prompt_tokens={limit}: {rows}{more}"
    )


def _task_list(source: TaskSource, tasks: Sequence[Task]) -> TaskList:
    if isinstance(source, TaskList):
        return replace(source, tasks=tuple(tasks))
    return TaskList(name=source.name, tasks=tuple(tasks))


def _frame_bytes(encoder: TemplateEncoder) -> int:
    """Return the bytes of the template around a message."""
    return _num_bytes(encoder.text(Task(id="", prompt=" "))) + 1  # "{prompt}." may drop its dot


def _num_messages(prompt: Prompt) -> int:
    return 1 if isinstance(prompt, str) else len(prompt)


def _num_bytes(prompt: Prompt) -> int:
    texts = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
    return sum(len(text.encode()) for text in texts)


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _with_text(task: Task, text: str) -> Task:
    if isinstance(task.prompt, str):
        return replace(task, prompt=text)
    return replace(task, prompt=[*task.prompt[:-1], {**task.prompt[-1], "content": text}])


def _batches(indices: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(indices, BATCH)):
        yield batch
