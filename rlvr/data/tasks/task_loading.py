"""Open the `tasks` section of a recipe: rows of a data set, or the tasks of a function."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlvr.data.rows import Row, UnreadableRow, load_function, read_rows
from rlvr.data.tasks.adapters import ADAPTERS
from rlvr.data.tasks.sources import TaskList, TaskSource
from rlvr.errors import ConfigError
from rlvr.types import Task

__all__ = ["open_tasks"]

logger = logging.getLogger(__name__)

# keyword arguments of every reward, in addition to the task's columns
RESERVED_COLUMNS = frozenset({"completion_ids", "completions", "prompts", "think_prefilled"})
NOT_COLUMNS = RESERVED_COLUMNS | {"prompt"}  # columns of a row that rewards do not get
# built-in sources without rows, called as a user's function is
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
    """Open the tasks of a recipe section; `section` is its key, for error messages.

    source: a name in ADAPTERS or GENERATORS, or `pkg.module:function` (called with path, split,
    num_tasks and seed as keywords; returns Tasks or a TaskSource). columns: name that rewards see
    -> column of the rows, on top of the adapter's own; with jsonl, "" drops the answer
    ({"answer": "", "tests": "cases"}). All other columns of a row keep their names. num_tasks: at
    most the first so many; None: all. Task ids contain the row number ("gsm8k/887").

    A row with an unreadable gold answer is skipped, logged, and listed in `TaskList.skipped`.

    Raises ConfigError: invalid arguments, a row without a mapped column, or an error of read_rows.
    """
    if num_tasks is not None and num_tasks < 1:
        raise ConfigError(f"{section}.num_tasks: {num_tasks} is not 1 or more")
    if source in ADAPTERS:
        columns = columns or {}
        _check_columns(columns, source, section=section)
        path = path or ADAPTERS[source].path
        if path is None:
            raise ConfigError(f"{section}.path: source {source} needs a file or a datasets name")
        rows = read_rows(path, split=split, section=section)
        tasks = _row_tasks(rows, source, columns, num_tasks=num_tasks, section=section)
        if not tasks.tasks and not tasks.skipped:
            raise ConfigError(f"{section}.path: {path} holds no row")
        if not tasks.tasks:
            first, num_rows = tasks.skipped[0], len(tasks.skipped)
            raise ConfigError(f"{path}: none of its {num_rows} rows makes a task; {first}")
        return tasks
    if columns:
        raise ConfigError(
            f"{section}.columns: only sources that read rows have columns, {source} makes its own"
        )
    if source not in GENERATORS and ":" not in source:
        known = ", ".join(sorted([*ADAPTERS, *GENERATORS]))
        raise ConfigError(
            f"{section}.source: {source!r} is unknown; allowed: {known}, or pkg.module:function"
        )
    options = {"path": path, "split": split, "num_tasks": num_tasks, "seed": seed}
    return _function_tasks(source, options, section=section)


def _check_columns(columns: Mapping[str, str], source: str, *, section: str) -> None:
    for name, column in columns.items():
        if name in RESERVED_COLUMNS:
            raise ConfigError(
                f"{section}.columns.{name}: the trainer itself calls rewards with {name}; "
                "choose another name"
            )
        if not column and name not in ADAPTERS[source].droppable:
            raise ConfigError(
                f"{section}.columns.{name}: is empty; source {source} needs the name of a column"
            )


def _row_tasks(
    rows: Iterable[Row],
    source: str,
    columns: Mapping[str, str],
    *,
    num_tasks: int | None,
    section: str,
) -> TaskList:
    adapter = ADAPTERS[source]
    merged = [{**defaults, **columns} for defaults in adapter.columns]
    mappings = [{name: column for name, column in one.items() if column} for one in merged]
    mapping: dict[str, str] = {}  # the first that fits the first row
    tasks: list[Task] = []
    skipped: list[str] = []
    origin, not_passed = None, NOT_COLUMNS
    for row in rows:
        if not mapping:
            fitting = (one for one in mappings if row.values.keys() >= set(one.values()))
            mapping = next(fitting, mappings[0])
            dropped = (name for name, column in columns.items() if not column)
            not_passed = NOT_COLUMNS.union(mapping.values(), dropped)
            origin = row.where.rpartition(":")[0]
        try:
            values = dict(adapter.read(row.mapped(mapping, section=section)))
            prompt = _checked_prompt(values.pop("prompt"))
            others = {k: v for k, v in row.values.items() if k not in not_passed}
            tasks.append(
                Task(id=f"{source}/{row.number}", prompt=prompt, columns={**others, **values})
            )
        except UnreadableRow as error:
            skipped.append(f"{row.where}: {error}")
            logger.warning("skipped %s", skipped[-1])
        if len(tasks) == num_tasks:
            break
    return TaskList(name=source, tasks=_same_columns(tasks), skipped=tuple(skipped), origin=origin)


def _same_columns(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Give each task the columns of all, None where its row has none, as `datasets` does."""
    names = dict.fromkeys(name for task in tasks for name in task.columns)
    return tuple(
        task
        if len(task.columns) == len(names)
        else replace(task, columns=dict.fromkeys(names) | dict(task.columns))
        for task in tasks
    )


def _checked_prompt(prompt: Any) -> Any:
    is_chat = isinstance(prompt, list) and all(
        isinstance(message, dict)
        and all(isinstance(message.get(key), str) for key in ("role", "content"))
        for message in prompt
    )
    if not (isinstance(prompt, str) or is_chat):
        raise UnreadableRow(
            "the prompt is neither a text nor a list of messages with role and content"
        )
    if not prompt or (isinstance(prompt, str) and not prompt.strip()):
        raise UnreadableRow("the prompt is empty")
    texts = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise UnreadableRow("the prompt has half a surrogate pair in it") from None
    return prompt


def _function_tasks(source: str, options: Mapping[str, Any], *, section: str) -> TaskSource:
    function = load_function(GENERATORS.get(source, source), key=f"{section}.source")
    try:
        inspect.signature(function).bind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{section}.source: {source} is called with {', '.join(options)}: {error}"
        ) from None
    made = function(**options)
    if isinstance(made, TaskSource):
        return made
    tasks = tuple(made)[: options["num_tasks"]] if isinstance(made, Iterable) else ()
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise ConfigError(
            f"{section}.source: {source} returned neither a TaskSource "
            "nor a non-empty list of rlvr.types.Task"
        )
    try:
        return TaskList(name=source, tasks=tasks)
    except ValueError as error:
        raise ConfigError(f"{section}.source: {error}") from error
