"""Distillation: a teacher's replies, scored and filtered, as data for `rlvr sft`.

    tasks --teacher--> replies.jsonl --rules, judge--> scores.jsonl
    replies and scores --filter--> rows.jsonl (all, with the reason why not), kept.jsonl, export/

Replies and scores go to the disk as they come, a whole row at a time, so that a run that is killed
goes on with what is missing. What was paid for stands in usage.jsonl, a line for each reply.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from rlvr.cluster.signals import stop_on_signals, unless_stopped
from rlvr.data.formats import write_exports
from rlvr.errors import ConfigError, RLVRError, Stopped
from rlvr.run.manifest import changed_inputs, make_manifest
from rlvr.run.row_log import write_rows
from rlvr.run.run_folder import RunFolder, read_json, write_json
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.stages.distill.distill_inputs import DistillInputs, questions_of
from rlvr.stages.distill.teacher_logs import TeacherLogs
from rlvr.stages.distill.teacher_requests import Asker, Unanswered
from rlvr.stages.distill.teacher_scores import RULE, Scorer
from rlvr.teacher import NoReply, Teacher, in_parallel
from rlvr.teacher.judge import Judge

__all__ = ["run_distill"]

Row = Mapping[str, Any]

NUM_LINES = 20  # of progress
_NOT_SCORED = {"score": None, "scored_by": None, "score_reason": "", "judge_retries": 0}
RULE_BATCH = 200  # scores by rule that go to the disk together


def run_distill(config: DistillConfig, folder: RunFolder, inputs: DistillInputs) -> dict[str, Any]:
    """Ask, score and write what is missing; returns the summary.

    The caller holds the folder's lock and has claimed it.

    Raises:
        RLVRError: stopped, no endpoint is left, rows stayed without a reply, or the disk is full.
    """
    manifest = _manifest(config, folder, inputs)
    logs = TeacherLogs(folder.path)
    rows = asyncio.run(_until_stopped(config, inputs, logs))
    judged = [{**row, **_kept(config, row)} for row in rows]
    kept = [row for row in judged if row["kept"]]
    write_rows(folder.path / "rows.jsonl", judged)
    write_rows(folder.path / "kept.jsonl", kept)
    write_exports(folder.path / "export", kept, name=config.name, formats=config.export)
    summary = _summary(judged, logs)
    counts = {key: summary[key] for key in ("num_rows", "num_kept")}
    write_json(folder.manifest, {**manifest, "counts": counts})
    write_json(folder.summary, summary)
    return summary


def _manifest(config: DistillConfig, folder: RunFolder, inputs: DistillInputs) -> dict[str, Any]:
    """Raises ConfigError where an interrupted run was made from other files."""
    if folder.manifest.exists():
        manifest = read_json(folder.manifest)
        changed = changed_inputs(manifest)
        if changed:
            raise ConfigError(
                f"{changed[0]}: {inputs.files.get(changed[0])} has changed since {folder.path} was "
                f"begun; give another name=..., or delete {folder.path} to start anew"
            )
        return manifest
    manifest = make_manifest(config, inputs=inputs.files, uses_sandbox=inputs.uses_sandbox)
    write_json(folder.manifest, manifest)
    write_json(folder.path / "prompt.json", inputs.prompt.record)
    return manifest


async def _until_stopped(
    config: DistillConfig, inputs: DistillInputs, logs: TeacherLogs
) -> list[Row]:
    stop = stop_on_signals(partial(print, flush=True))
    try:
        return await unless_stopped(_rows(config, inputs, logs), stop, step=0)
    except Stopped:
        raise RLVRError("stopped; the same command goes on with what is missing") from None


async def _rows(config: DistillConfig, inputs: DistillInputs, logs: TeacherLogs) -> list[Row]:
    """All rows with their scores, in the order of the tasks."""
    async with AsyncExitStack() as stack:
        judge, limit = None, 4
        if config.scoring.judge is not None:
            teacher = Teacher(config.scoring.judge, key="scoring.judge", seed=config.seed)
            await stack.enter_async_context(teacher)
            judge, limit = Judge(teacher, config.scoring, logs.note_judge), teacher.concurrency
        scorer = Scorer(config, judge)
        replies = list(inputs.rows) or await _ask(config, inputs, logs, scorer)
        return await _score(config, replies, logs, scorer, limit=limit)


async def _ask(
    config: DistillConfig, inputs: DistillInputs, logs: TeacherLogs, scorer: Scorer
) -> list[Row]:
    questions = list(questions_of(inputs, samples_per_task=config.samples_per_task))
    missing = [one for one in questions if one.id not in logs.replies]
    unanswered: list[Unanswered] = []
    if missing:
        assert config.teacher is not None and inputs.tasks is not None
        async with Teacher(config.teacher, seed=config.seed) as teacher:
            asker = Asker(
                config,
                inputs.prompt,
                teacher,
                source=inputs.tasks.name,
                scorer=scorer if config.verify else None,
                note=logs.note_teacher,
            )
            async for row in in_parallel(missing, asker.row, limit=teacher.concurrency):
                if isinstance(row, Unanswered):
                    unanswered.append(row)
                    continue
                await asyncio.to_thread(logs.add_reply, row)
                _say_progress("replies", len(logs.replies), len(questions))
    _check_answered(unanswered, len(questions), config.max_unanswered)
    return [logs.replies[one.id] for one in questions if one.id in logs.replies]


async def _score(
    config: DistillConfig, replies: Sequence[Row], logs: TeacherLogs, scorer: Scorer, *, limit: int
) -> list[Row]:
    """Rows that bring a score of an earlier run keep it, unless scoring.again is on."""
    known = logs.scores_by(scorer.hash)
    keeps_earlier = config.rows_from is not None and not config.scoring.again
    for row in replies:
        if row.get("scoring") == scorer.hash or (keeps_earlier and "score" in row):
            known.setdefault(row["id"], {**_NOT_SCORED, **row})
    missing = [row for row in replies if row["id"] not in known]
    unanswered: list[Unanswered] = []
    batch: list[Row] = []

    async def score(row: Row) -> dict[str, Any] | Unanswered:
        try:
            return {"id": row["id"], **(await scorer.score(row)).columns}
        except NoReply as error:
            return Unanswered(id=row["id"], reason=str(error))

    async for scored in in_parallel(missing, score, limit=limit):
        if isinstance(scored, Unanswered):
            unanswered.append(scored)
            continue
        known[scored["id"]] = scored
        batch.append(scored)
        if scored["scored_by"] != RULE or len(batch) == RULE_BATCH:  # a rule costs nothing again
            await asyncio.to_thread(logs.add_scores, batch)
            batch = []
        _say_progress("scores", len(known), len(replies))
    logs.add_scores(batch)
    _check_answered(unanswered, len(replies), 0)
    return [{**row, **known[row["id"]]} for row in replies]


def _check_answered(unanswered: Sequence[Unanswered], num_rows: int, limit: int) -> None:
    if len(unanswered) > limit:
        raise RLVRError(
            f"{len(unanswered)} of {num_rows} rows have no reply ({unanswered[-1].id}: "
            f"{unanswered[-1].reason}); the same command asks for them again"
            + (f", and max_unanswered={len(unanswered)} ends without them" if limit == 0 else "")
        )


def _kept(config: DistillConfig, row: Row) -> dict[str, Any]:
    reason = _reason_against(config, row)
    return {"kept": reason is None, "dropped_because": reason}


def _reason_against(config: DistillConfig, row: Row) -> str | None:
    """The first one; None: the row is kept."""
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


def _summary(rows: Sequence[Row], logs: TeacherLogs) -> dict[str, Any]:
    """Counts; a dropped row counts under the first word of its reason."""
    reasons = Counter(
        str(row["dropped_because"]).partition(":")[0] for row in rows if not row["kept"]
    )
    return {
        "num_rows": len(rows),
        "num_kept": sum(row["kept"] for row in rows),
        "dropped": dict(reasons.most_common()),
        "scored_by": dict(Counter(str(row["scored_by"]) for row in rows)),
        "judge_retries": sum(row["judge_retries"] for row in rows),
        "usage": logs.totals(),
    }


def _say_progress(what: str, num_done: int, num_all: int) -> None:
    if num_done == num_all or num_done % max(1, num_all // NUM_LINES) == 0:
        print(f"{num_done} of {num_all} {what}", flush=True)
