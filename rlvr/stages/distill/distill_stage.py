"""`rlvr distill`: check the recipe's inputs before the first call, then run the distillation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rlvr.data.inputs import check_is_finite, open_section
from rlvr.data.rows import read_rows
from rlvr.data.tasks import TaskSource
from rlvr.errors import ConfigError, one_line
from rlvr.run.run_folder import RunFolder, read_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.teacher import check_endpoints
from rlvr.teacher.teacher_prompts import TeacherPrompt, make_prompt
from sandbox import SandboxUnavailable, require

__all__ = ["STAGE", "DistillInputs", "check_distill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillInputs:
    """The checked inputs of a distillation."""

    tasks: TaskSource | None  # None: `rows` hold the replies already
    prompt: TeacherPrompt
    rows: tuple[Mapping[str, Any], ...]  # of rows_from
    files: Mapping[str, str]  # recipe key -> file that is read
    uses_sandbox: bool


def check_distill(config: DistillConfig) -> DistillInputs:
    """Check tasks, prompts, addresses, keys and sandbox. Raises ConfigError."""
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
        try:
            require(config.sandbox.min_tier)
        except SandboxUnavailable as error:
            tier = config.sandbox.min_tier
            raise ConfigError(f"sandbox.min_tier: {tier}: {one_line(error)}") from None
    files = {
        "tasks.path": config.tasks.path if config.tasks and not config.rows_from else None,
        "rows_from": config.rows_from,
        "prompt.system_file": config.prompt.system_file,
        "prompt.user_file": config.prompt.user_file,
    }
    return DistillInputs(
        tasks=tasks,
        prompt=prompt,
        rows=rows,
        files={key: path for key, path in files.items() if path is not None},
        uses_sandbox=uses_sandbox,
    )


def _check_tasks(config: DistillConfig, prompt: TeacherPrompt) -> TaskSource:
    """Open the tasks and render every prompt."""
    assert config.tasks is not None and config.teacher is not None
    check_endpoints(config.teacher.endpoints, section="teacher")
    tasks = open_section(config.tasks, section="tasks", seed=config.seed)
    check_is_finite(tasks, section="tasks")
    for i in range(tasks.num_tasks or 0):
        prompt.render(tasks.task(i))
    return tasks


def _earlier_rows(path: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of rows_from, each with a unique id."""
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
            raise ConfigError(f"{row.where}: duplicate id {values['id']!r}")
        seen.add(values["id"])
        yield values


def _run(config: DistillConfig, folder: RunFolder, inputs: DistillInputs) -> None:
    from rlvr.stages.distill.distillation import run_distill

    run_distill(config, folder, inputs)


def _closing(config: DistillConfig, folder: RunFolder) -> str:
    summary = read_json(folder.summary)
    dropped = ", ".join(f"{name} {count}" for name, count in summary["dropped"].items())
    scored = ", ".join(f"{name} {count}" for name, count in summary["scored_by"].items())
    return (
        f"{folder.path / 'kept.jsonl'}: {summary['num_kept']} of {summary['num_rows']} rows; "
        f"dropped: {dropped or 'none'}; scored by: {scored}"
    )


STAGE = Stage(
    schema=DistillConfig,
    check=check_distill,
    run=_run,
    closing=_closing,
    # replies on disk are kept when the teacher or their use changes
    free_keys=("teacher", "scoring", "filter", "export", "max_unanswered", "sandbox"),
    needs_environment=False,
)
