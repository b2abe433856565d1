# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Augment Chinese questions by back-translation; the teacher solves the new questions.

question --en--> --zh--> new question --ask--> reasoning and answer --gold answer--> kept?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.math.math_accuracy import grade_accuracy
from rlvr.data.cleaning.overlap import normalized
from rlvr.data.samples import answer_of, language_of, question_of
from rlvr.run.progress import Progress
from rlvr.run.row_log import RowLog
from rlvr.stages.clean.clean_config import BackTranslationSection
from rlvr.teacher import NoReply, Refused, Teacher, TeacherReply, in_parallel

__all__ = ["back_translate"]

TO_ENGLISH = (
    "Translate the following question into English. Keep all numbers, names and formulas. "
    "Reply with the translation alone.\n\n{text}"
)
TO_CHINESE = "把下面的问题翻译成中文，保留所有数字、名称和公式。只回复译文。\n\n{text}"
DROPPED_COLUMNS = (
    "completion",
    "steps",
    "messages",
    "context",
    "task_desc",
    "scores",
    "num_tokens",
)

Row = dict[str, Any]


async def back_translate(
    section: BackTranslationSection, rows: Sequence[Row], log: RowLog, *, seed: int
) -> list[Row]:
    """Return a new row for each Chinese one with an answer; rows in the log are not asked again.

    Raises NoEndpointLeft: no endpoint answers; the replies so far are in the log.
    """
    chinese = [row for row in rows if language_of(row).startswith("zh") and row.get("answer")]
    chosen = chinese[: section.num_rows]
    done = {row["id"] for row in log.rows}
    missing = [row for row in chosen if _new_id(row) not in done]
    if missing:
        async with Teacher(section.teacher, key="back_translation.teacher", seed=seed) as teacher:

            async def work(row: Row) -> Row:
                return await _translate(teacher, section, row)

            num_known = len(chosen) - len(missing)
            with Progress("translations", total=len(chosen), first=num_known) as progress:
                async for row in in_parallel(missing, work, limit=teacher.concurrency):
                    log.append([row])
                    num_known += 1
                    progress.update(num_known)
    translated = {row["id"]: row for row in log.rows}
    return [translated[_new_id(row)] for row in chosen]


async def _translate(teacher: Teacher, section: BackTranslationSection, row: Row) -> Row:
    async def ask(text: str) -> TeacherReply:
        return await teacher.ask([{"role": "user", "content": text}], section.sampling)

    new = {key: value for key, value in row.items() if key not in DROPPED_COLUMNS}
    new |= {"id": _new_id(row), "back_translated_from": row["id"], "language": "zh"}
    try:
        english = await ask(TO_ENGLISH.format(text=question_of(row)))
        chinese = await ask(TO_CHINESE.format(text=english.content))
        if problem := english.problem or chinese.problem:
            return _dropped(new, f"a translation is incomplete: {problem}")
        new |= {"prompt": chinese.content.strip(), "english": english.content.strip()}
        if normalized(new["prompt"]) == normalized(question_of(row)):
            return _dropped(new, "the question is unchanged")
        reply = await ask(new["prompt"])
    except (NoReply, Refused) as error:
        return _dropped(new, str(error))
    new |= {"reasoning_content": reply.reasoning_content, "content": reply.content}
    if reply.problem is not None:
        return _dropped(new, f"the reply is incomplete: {reply.problem}")
    if grade_accuracy(reply.content, str(row["answer"])).value != 1.0:
        answer = " ".join(answer_of(new).split())[-60:]
        return _dropped(new, f"the answer changed: {answer!r} is not {row['answer']!r}")
    return {**new, "kept": True, "dropped_by": None, "dropped_because": None}


def _dropped(row: Row, reason: str) -> Row:
    name = "back_translation"
    return {**row, "kept": False, "dropped_by": name, "dropped_because": f"{name}: {reason}"}


def _new_id(row: Row) -> str:
    return f"{row['id']}#back"
