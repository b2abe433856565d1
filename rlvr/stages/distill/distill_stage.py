"""`rlvr distill`: check the inputs before the first call, then ask, score, filter and export.

    tasks --teacher--> replies.jsonl --rules, judge--> scores.jsonl
    replies and scores --filter--> rows.jsonl (all, with the reason if dropped), kept.jsonl, export/

Replies and scores are written as they arrive, one whole row at a time, so that a killed run resumes
with the missing ones. usage.jsonl holds the tokens of every reply, including those asked again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlvr.cluster.signals import stop_on_signals, unless_stopped
from rlvr.data.formats import write_exports
from rlvr.data.inputs import check_is_finite, check_sandbox, open_section
from rlvr.data.rows import read_rows
from rlvr.data.tasks import TaskSource
from rlvr.errors import ConfigError, RLVRError, Stopped
from rlvr.run.manifest import changed_inputs, make_manifest
from rlvr.run.progress import Progress
from rlvr.run.row_log import RowLog, write_rows
from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.run.stage_protocol import Stage
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.stages.distill.row_scores import RULE, Judge, RowScorer
from rlvr.stages.distill.teacher_rows import Question, TeacherRows
from rlvr.teacher import NoReply, Teacher, TeacherReply, check_endpoints, in_parallel
from rlvr.teacher.teacher_prompts import TeacherPrompt, make_prompt

__all__ = ["STAGE", "DistillInputs", "check_distill"]

Row = Mapping[str, Any]

RULE_BATCH = 200  # scores by rule that are written together
_NO_SCORE = {"score": None, "scored_by": None, "score_reason": "", "judge_retries": 0}
_TOKENS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillInputs:
    """The checked inputs of a distillation."""

    tasks: TaskSource | None  # None: `rows` hold the replies already
    prompt: TeacherPrompt
    rows: tuple[Row, ...]  # of rows_from
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
    columns: list[Row] = list(rows)
    if tasks is not None:
        columns = [tasks.task(i).columns for i in range(tasks.num_tasks or 0)]
    has_tests = any(one.get("tests") is not None for one in columns)
    uses_sandbox = has_tests and "passes_tests" in config.scoring.rules
    if uses_sandbox:
        check_sandbox(config.sandbox)
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


def _run(config: DistillConfig, folder: RunFolder, inputs: DistillInputs) -> None:
    """Generate and score the missing rows, then write the results and the summary.

    Raises:
        RLVRError: stopped, no endpoint is left, rows stayed without a reply, or the disk is full.
    """
    manifest = _manifest(config, folder, inputs)
    logs = _Logs(folder.path)
    rows = []
    for row in asyncio.run(_until_stopped(config, inputs, logs)):
        reason = _drop_reason(config, row)
        rows.append({**row, "kept": reason is None, "dropped_because": reason})
    kept = [row for row in rows if row["kept"]]
    write_rows(folder.path / "rows.jsonl", rows)
    write_rows(folder.path / "kept.jsonl", kept)
    write_exports(folder.path / "export", kept, name=config.name, formats=config.export)
    counts = {"num_rows": len(rows), "num_kept": len(kept)}
    write_json(folder.manifest, {**manifest, "counts": counts})
    write_json(folder.summary, {**counts, **_summary(rows), "usage": logs.usage_totals()})


class _Logs:
    """The logs of a run folder; `add_*` return when the rows are on disk, or raise RLVRError.

    replies.jsonl   one row per question, without its score
    scores.jsonl    {"id", "score", "scored_by", ..., "scoring": hash of the scoring}
    usage.jsonl     {"for": "teacher" | "judge", "id", "endpoint", "model", tokens}
    """

    def __init__(self, folder: Path) -> None:
        self._replies = RowLog(folder / "replies.jsonl")
        self.scores = RowLog(folder / "scores.jsonl")
        self._usage = RowLog(folder / "usage.jsonl")
        self._unwritten_usage: list[Row] = []
        self.replies: dict[str, Row] = {row["id"]: row for row in self._replies.rows}

    def add_reply(self, row: Row) -> None:
        self._write_usage()
        self._replies.append([row])
        self.replies[row["id"]] = row

    def add_scores(self, rows: Sequence[Row]) -> None:
        self._write_usage()
        self.scores.append(rows)

    def note_usage(self, purpose: str, id: str, reply: TeacherReply) -> None:
        """Keep what a reply cost, until the next row is written."""
        source = {"endpoint": reply.endpoint, "model": reply.model}
        self._unwritten_usage.append({"for": purpose, "id": id, **source, **asdict(reply.usage)})

    def usage_totals(self) -> dict[str, dict[str, int]]:
        """Return replies and tokens by "teacher ENDPOINT", over all runs of this folder."""
        self._write_usage()
        totals: dict[str, dict[str, int]] = {}
        for row in self._usage.rows:
            one = totals.setdefault(
                f"{row['for']} {row['endpoint']}", dict.fromkeys(("replies", *_TOKENS), 0)
            )
            one["replies"] += 1
            for name in _TOKENS:
                one[name] += row[name] or 0
        return totals

    def _write_usage(self) -> None:
        rows, self._unwritten_usage = self._unwritten_usage, []
        if rows:
            self._usage.append(rows)


def _check_tasks(config: DistillConfig, prompt: TeacherPrompt) -> TaskSource:
    """Open the tasks and render every prompt."""
    assert config.tasks is not None and config.teacher is not None
    check_endpoints(config.teacher.endpoints, section="teacher")
    tasks = open_section(config.tasks, section="tasks", seed=config.seed)
    check_is_finite(tasks, section="tasks")
    for i in range(tasks.num_tasks or 0):
        prompt.render(tasks.task(i))
    return tasks


def _earlier_rows(path: str) -> Iterator[Row]:
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


def _manifest(config: DistillConfig, folder: RunFolder, inputs: DistillInputs) -> dict[str, Any]:
    """Raises ConfigError when an interrupted run read other files."""
    if folder.manifest.exists():
        manifest = read_json(folder.manifest)
        if changed := changed_inputs(manifest):
            raise ConfigError(
                f"{changed[0]}: {inputs.files.get(changed[0])} has changed since the run in "
                f"{folder.path} started; give another name=..., or delete {folder.path} to restart"
            )
        return manifest
    manifest = make_manifest(config, inputs=inputs.files, uses_sandbox=inputs.uses_sandbox)
    write_json(folder.manifest, manifest)
    write_json(folder.path / "prompt.json", asdict(inputs.prompt))
    return manifest


async def _until_stopped(
    config: DistillConfig, inputs: DistillInputs, logs: _Logs
) -> list[dict[str, Any]]:
    stop = stop_on_signals(partial(print, flush=True))
    try:
        return await unless_stopped(_scored_rows(config, inputs, logs), stop, step=0)
    except Stopped:
        raise RLVRError("stopped; the same command resumes with the missing rows") from None


async def _scored_rows(
    config: DistillConfig, inputs: DistillInputs, logs: _Logs
) -> list[dict[str, Any]]:
    """Return all rows with their scores, in the order of the tasks."""
    async with AsyncExitStack() as stack:
        judge, limit = None, 4
        if config.scoring.judge is not None:
            teacher = Teacher(config.scoring.judge, key="scoring.judge", seed=config.seed)
            await stack.enter_async_context(teacher)
            judge = Judge(teacher, config.scoring, partial(logs.note_usage, "judge"))
            limit = teacher.concurrency
        scorer = RowScorer(config, judge)
        replies = list(inputs.rows) or await _ask(config, inputs, logs, scorer)
        return await _score(config, replies, logs, scorer, limit=limit)


async def _ask(
    config: DistillConfig, inputs: DistillInputs, logs: _Logs, scorer: RowScorer
) -> list[Row]:
    assert config.teacher is not None and inputs.tasks is not None
    questions = [
        Question(id=f"{task.id}#{number}", task=task)
        for task in map(inputs.tasks.task, range(inputs.tasks.num_tasks or 0))
        for number in range(config.samples_per_task)
    ]
    missing = [one for one in questions if one.id not in logs.replies]
    unanswered: dict[str, str] = {}
    if missing:
        async with Teacher(config.teacher, seed=config.seed) as teacher:
            maker = TeacherRows(
                config=config,
                prompt=inputs.prompt,
                teacher=teacher,
                source=inputs.tasks.name,
                scorer=scorer if config.verify else None,
                note=partial(logs.note_usage, "teacher"),
            )

            async def ask(question: Question) -> Row | None:
                try:
                    return await maker.row(question)
                except NoReply as error:
                    unanswered[question.id] = str(error)
                    return None

            with Progress("replies", total=len(questions), first=len(logs.replies)) as progress:
                async for row in in_parallel(missing, ask, limit=teacher.concurrency):
                    if row is not None:
                        await asyncio.to_thread(logs.add_reply, row)
                        progress.update(len(logs.replies))
    _check_answered(unanswered, len(questions), config.max_unanswered)
    return [logs.replies[one.id] for one in questions if one.id in logs.replies]


async def _score(
    config: DistillConfig, replies: Sequence[Row], logs: _Logs, scorer: RowScorer, *, limit: int
) -> list[dict[str, Any]]:
    """Score the rows without a score. Rows of rows_from keep theirs unless scoring.again is on."""
    known: dict[str, Row] = {
        row["id"]: row for row in logs.scores.rows if row["scoring"] == scorer.hash
    }
    keeps_earlier = config.rows_from is not None and not config.scoring.again
    for row in replies:
        if row.get("scoring") == scorer.hash or (keeps_earlier and "score" in row):
            known.setdefault(row["id"], {**_NO_SCORE, **row})
    missing = [row for row in replies if row["id"] not in known]
    unanswered: dict[str, str] = {}
    batch: list[Row] = []

    async def score(row: Row) -> Row | None:
        try:
            return {"id": row["id"], **asdict(await scorer.score(row))}
        except NoReply as error:
            unanswered[row["id"]] = str(error)
            return None

    with Progress("scores", total=len(replies), first=len(known)) as progress:
        async for scored in in_parallel(missing, score, limit=limit):
            if scored is None:
                continue
            known[scored["id"]] = scored
            batch.append(scored)
            if scored["scored_by"] != RULE or len(batch) == RULE_BATCH:  # rules are free to repeat
                await asyncio.to_thread(logs.add_scores, batch)
                batch = []
            progress.update(len(known))
    logs.add_scores(batch)
    _check_answered(unanswered, len(replies), 0)
    return [{**row, **known[row["id"]]} for row in replies]


def _check_answered(unanswered: Mapping[str, str], num_rows: int, limit: int) -> None:
    if len(unanswered) > limit:
        id, reason = list(unanswered.items())[-1]
        raise RLVRError(
            f"{len(unanswered)} of {num_rows} rows have no reply ({id}: {reason}); "
            "the same command asks for them again"
            + (f", and max_unanswered={len(unanswered)} leaves them out" if limit == 0 else "")
        )


def _drop_reason(config: DistillConfig, row: Row) -> str | None:
    """Return the first reason to drop a row, or None to keep it."""
    if row.get("problem") is not None:
        return str(row["problem"])
    if config.filter.require_thought and not row.get("reasoning_content"):
        return "thought: there is none"
    least, score = config.filter.min_score, row["score"]
    if least is None:
        return None
    if score is None:
        return f"score: none ({row['score_reason']})"
    return f"score: {score:g} is below {least:g}" if score < least else None


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Count the rows; a dropped one counts under the first word of its reason."""
    reasons = Counter(
        str(row["dropped_because"]).partition(":")[0] for row in rows if not row["kept"]
    )
    return {
        "dropped": dict(reasons.most_common()),
        "scored_by": dict(Counter(str(row["scored_by"]) for row in rows)),
        "judge_retries": sum(row["judge_retries"] for row in rows),
    }


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
    work=("replies.jsonl", "scores.jsonl"),
    needs_environment=False,
)
