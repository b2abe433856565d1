"""From the `tasks` section of a recipe to a source: an adapter over rows, or a function's tasks."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rlvr.data.tasks.adapters import ADAPTERS, Adapter, UnreadableRow
from rlvr.data.tasks.dotted import load_function
from rlvr.data.tasks.rows import Row, read_rows
from rlvr.data.tasks.source import SkippedRow, TaskList, TaskSource
from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["open_tasks"]

logger = logging.getLogger(__name__)

# rewards are called with these beside a task's columns
RESERVED_COLUMNS = frozenset({"completion_ids", "completions", "prompts", "think_prefilled"})
# sources that make their tasks themselves; called like a user's function
GENERATORS = {
    "toy": "rlvr.toy.task_source:open_toy",
    "toy_programs": "rlvr.toy.task_source:open_programs",
    "toy_requests": "rlvr.toy.task_source:open_requests",
}


def open_tasks(
    source: str,
    *,
    path: str | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    num_tasks: int | None = None,
    seed: int = 0,
    section: str = "tasks",
) -> TaskSource:
    """The tasks that a recipe names; `section` is where it does so, for messages.

    source: a name in ADAPTERS or GENERATORS, or `pkg.module:function` (called with path, split,
    num_tasks and seed as keywords; returns Tasks or a TaskSource). columns: name that rewards see
    -> column of the rows, on top of the adapter's own; with jsonl, "" drops the answer
    ({"answer": "", "tests": "cases"}). num_tasks: the first so many; None: all. Task ids hold the
    row number ("gsm8k/887").

    Raises ConfigError for whatever the user can have got wrong: see read_rows, and a row without
    a mapped column. A row whose gold cannot be read is left out, logged, and kept in `skipped`.
    """
    if num_tasks is not None and num_tasks < 1:
        raise ConfigError(f"{section}.num_tasks: {num_tasks} is not 1 or more")
    if source in ADAPTERS:
        return _open_rows(
            source,
            path=path,
            split=split,
            columns=columns or {},
            num_tasks=num_tasks,
            section=section,
        )
    if columns:
        raise ConfigError(
            f"{section}.columns: only sources that read rows have columns, {source} makes its own"
        )
    if source not in GENERATORS and ":" not in source:
        known = ", ".join(sorted([*ADAPTERS, *GENERATORS]))
        raise ConfigError(
            f"{section}.source: {source!r} is unknown; allowed: {known}, or pkg.module:function"
        )
    make = load_function(GENERATORS.get(source, source), key=f"{section}.source")
    try:
        inspect.signature(make).bind(path=path, split=split, num_tasks=num_tasks, seed=seed)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{section}.source: {source} is called with path, split, num_tasks and seed: {error}"
        ) from None
    made = make(path=path, split=split, num_tasks=num_tasks, seed=seed)
    if isinstance(made, TaskSource):
        return made
    return _list_of(made, source=source, num_tasks=num_tasks, section=section)


def _open_rows(
    source: str,
    *,
    path: str | None,
    split: str | None,
    columns: Mapping[str, str],
    num_tasks: int | None,
    section: str,
) -> TaskList:
    adapter = ADAPTERS[source]
    _check_columns(columns, adapter=adapter, source=source, section=section)
    place = path or adapter.path
    if place is None:
        raise ConfigError(f"{section}.path: source {source} needs a file or a datasets name")
    tasks: list[Task] = []
    skipped: list[SkippedRow] = []
    for row, values in _mapped(
        read_rows(place, split=split, section=section), adapter, columns, section=section
    ):
        try:
            tasks.append(_task(adapter.read(values), id=f"{source}/{row.number}"))
        except UnreadableRow as error:
            skipped.append(SkippedRow(where=row.where, reason=str(error)))
        if len(tasks) == num_tasks:
            break
    _check_found(tasks, skipped, place=place, section=section)
    return TaskList(name=source, tasks=tuple(tasks), skipped=tuple(skipped))


def _check_columns(
    columns: Mapping[str, str], *, adapter: Adapter, source: str, section: str
) -> None:
    for name, column in columns.items():
        if name in RESERVED_COLUMNS:
            raise ConfigError(
                f"{section}.columns.{name}: the trainer itself calls rewards with {name}; "
                "choose another name"
            )
        if not column and name not in adapter.droppable:
            raise ConfigError(
                f"{section}.columns.{name}: is empty; source {source} needs the name of a column"
            )


def _mapped(
    rows: Iterable[Row], adapter: Adapter, columns: Mapping[str, str], *, section: str
) -> Iterator[tuple[Row, dict[str, Any]]]:
    mapping: Mapping[str, str] | None = None
    for row in rows:
        if mapping is None:
            mapping = _choose_mapping(adapter, columns, row=row)
        for name, column in mapping.items():
            if column not in row.values:
                found = ", ".join(map(repr, row.values)) or "none"
                raise ConfigError(
                    f"{row.where}: no column {column!r} for {name}; columns found: {found}; "
                    f"say which one it is with {section}.columns.{name}=COLUMN"
                )
        yield row, {name: row.values[column] for name, column in mapping.items()}


def _choose_mapping(adapter: Adapter, columns: Mapping[str, str], *, row: Row) -> Mapping[str, str]:
    merged = [{**defaults, **columns} for defaults in adapter.columns]
    mappings = [{name: column for name, column in one.items() if column} for one in merged]
    return next((one for one in mappings if row.values.keys() >= set(one.values())), mappings[0])


def _task(values: Mapping[str, Any], *, id: str) -> Task:
    prompt = values["prompt"]
    is_chat = isinstance(prompt, list) and all(
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
        for message in prompt
    )
    if not (isinstance(prompt, str) or is_chat):
        raise UnreadableRow(
            "the prompt is neither a text nor a list of messages with role and content"
        )
    if not prompt or (isinstance(prompt, str) and not prompt.strip()):
        raise UnreadableRow("the prompt is empty")
    return Task(
        id=id,
        prompt=prompt,
        columns={name: value for name, value in values.items() if name != "prompt"},
    )


def _check_found(tasks: list[Task], skipped: list[SkippedRow], *, place: str, section: str) -> None:
    if not tasks and not skipped:
        raise ConfigError(f"{section}.path: {place} holds no row")
    if not tasks:
        first = skipped[0]
        raise ConfigError(
            f"{place}: none of its {len(skipped)} rows makes a task; {first.where}: {first.reason}"
        )
    for row in skipped:
        logger.warning("left out %s: %s", row.where, row.reason)


def _list_of(made: Any, *, source: str, num_tasks: int | None, section: str) -> TaskList:
    tasks = tuple(made)[:num_tasks] if isinstance(made, Iterable) else ()
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise ConfigError(
            f"{section}.source: {source} returned neither a TaskSource "
            "nor a list of rlvr.types.Task with something in it"
        )
    try:
        return TaskList(name=source, tasks=tasks)
    except ValueError as error:
        raise ConfigError(f"{section}.source: {error}") from error
