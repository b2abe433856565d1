"""What a distillation starts from, looked at before the teacher is asked anything.

recipe --> tasks readable? every prompt renders? addresses and keys there? isolation for programs?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rlvr.data.inputs import check_is_finite, open_section
from rlvr.data.rows import read_rows
from rlvr.data.tasks import TaskSource
from rlvr.errors import ConfigError
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.teacher import check_endpoints
from rlvr.teacher.teacher_prompts import TeacherPrompt, make_prompt
from rlvr.types import Task
from sandbox import SandboxUnavailable, require

__all__ = ["DistillInputs", "Question", "check_distill", "questions_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillInputs:
    """Checked."""

    tasks: TaskSource | None  # None: there are rows already
    prompt: TeacherPrompt
    rows: tuple[Mapping[str, Any], ...]  # of rows_from
    files: Mapping[str, str]  # recipe key -> file that is read
    uses_sandbox: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One row to be: a task and which of its replies."""

    id: str  # "gsm8k/7#0"
    task: Task


def check_distill(config: DistillConfig) -> DistillInputs:
    """Raises ConfigError with one line on the first thing that is wrong."""
    prompt = make_prompt(config.prompt)
    if config.scoring.judge is not None:
        check_endpoints(config.scoring.judge.endpoints, section="scoring.judge")
    rows = tuple(_earlier_rows(config.rows_from)) if config.rows_from is not None else ()
    if config.rows_from is not None and not rows:
        raise ConfigError(f"rows_from: {config.rows_from} holds no row")
    tasks = _check_tasks(config, prompt) if config.rows_from is None else None
    columns: list[Mapping[str, Any]] = list(rows)
    if tasks is not None:
        columns = [tasks.task(i).columns for i in range(tasks.num_tasks or 0)]
    has_tests = any(one.get("tests") is not None for one in columns)
    uses_sandbox = has_tests and "passes_tests" in config.scoring.rules
    if uses_sandbox:
        _check_sandbox(config)
    return DistillInputs(
        tasks=tasks, prompt=prompt, rows=rows, files=_files(config), uses_sandbox=uses_sandbox
    )


def questions_of(inputs: DistillInputs, *, samples_per_task: int) -> Iterator[Question]:
    """All of them, in the order of the tasks."""
    if inputs.tasks is None:
        return
    for i in range(inputs.tasks.num_tasks or 0):
        task = inputs.tasks.task(i)
        for number in range(samples_per_task):
            yield Question(id=f"{task.id}#{number}", task=task)


def _check_tasks(config: DistillConfig, prompt: TeacherPrompt) -> TaskSource:
    assert config.tasks is not None and config.teacher is not None
    check_endpoints(config.teacher.endpoints, section="teacher")
    tasks = open_section(config.tasks, section="tasks", seed=config.seed)
    check_is_finite(tasks, section="tasks")
    for i in range(tasks.num_tasks or 0):
        prompt.render(tasks.task(i))
    return tasks


def _earlier_rows(path: str) -> Iterator[Mapping[str, Any]]:
    """Trace rows, each with an id of its own."""
    seen: set[str] = set()
    for row in read_rows(path, split=None, section="rows_from"):
        values = {"id": f"row/{row.number}", **row.values}
        missing = next((name for name in ("prompt", "content") if name not in values), None)
        if missing is not None:
            raise ConfigError(
                f"{row.where}: no column {missing!r}; rows_from is the rows.jsonl of an earlier "
                "run, with prompt and content"
            )
        if values["id"] in seen:
            raise ConfigError(f"{row.where}: the id {values['id']!r} stands twice")
        seen.add(values["id"])
        yield values


def _files(config: DistillConfig) -> dict[str, str]:
    files = {
        "tasks.path": config.tasks.path if config.tasks and not config.rows_from else None,
        "rows_from": config.rows_from,
        "prompt.system_file": config.prompt.system_file,
        "prompt.user_file": config.prompt.user_file,
    }
    return {key: path for key, path in files.items() if path is not None}


def _check_sandbox(config: DistillConfig) -> None:
    try:
        require(config.sandbox.min_tier)
    except SandboxUnavailable as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"sandbox.min_tier: {config.sandbox.min_tier}: {text}") from None
