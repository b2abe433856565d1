# ruff: noqa: RUF001 - Chinese punctuation is meant
"""More questions in Chinese: put into English and back, and solved again by the teacher.

    question --en--> --zh--> new question --ask--> thought and answer
                                                   answer as the gold says? kept : dropped

The trace of a new row is the teacher's own reply to the new question, so that both fit together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.math.math_accuracy import grade_accuracy
from rlvr.data.cleaning.duplicates import normalized
from rlvr.data.cleaning.row_text import answer_of, language_of, question_of
from rlvr.run.row_log import RowLog
from rlvr.stages.clean.clean_config import BackTranslationSection
from rlvr.teacher import NoReply, Refused, Reply, Teacher, in_parallel

__all__ = ["back_translate"]

TO_ENGLISH = (
    "Translate the following question into English. Keep all numbers, names and formulas. "
    "Reply with the translation alone.\n\n{text}"
)
TO_CHINESE = "把下面的问题翻译成中文，保留所有数字、名称和公式。只回复译文。\n\n{text}"
LEFT_BEHIND = ("completion", "steps", "messages", "context", "task_desc", "scores", "num_tokens")

Row = dict[str, Any]


async def back_translate(
    section: BackTranslationSection, rows: Sequence[Row], log: RowLog, *, seed: int
) -> list[Row]:
    """A new row for each Chinese one that has an answer; those in the log are not asked for again.

    Raises:
        NoEndpointLeft: the teacher is gone; what came back is in the log.
    """
    chinese = [row for row in rows if language_of(row).startswith("zh") and row.get("answer")]
    chosen = chinese[: section.num_rows]
    done = {row["id"] for row in log.rows}
    missing = [row for row in chosen if _id(row) not in done]
    if missing:
        async with Teacher(section.teacher, key="back_translation.teacher", seed=seed) as teacher:

            async def work(row: Row) -> Row:
                return await _new_row(teacher, section, row)

            async for row in in_parallel(missing, work, limit=teacher.concurrency):
                log.append([row])
    made = {row["id"]: row for row in log.rows}
    return [made[_id(row)] for row in chosen]


async def _new_row(teacher: Teacher, section: BackTranslationSection, row: Row) -> Row:
    new = {key: value for key, value in row.items() if key not in LEFT_BEHIND}
    new |= {"id": _id(row), "back_translated_from": row["id"], "language": "zh"}
    try:
        english = await _said(teacher, section, TO_ENGLISH.format(text=question_of(row)))
        chinese = await _said(teacher, section, TO_CHINESE.format(text=english.content))
        if problem := english.problem or chinese.problem:
            return _dropped(new, f"a translation is not whole: {problem}")
        new |= {"prompt": chinese.content.strip(), "english": english.content.strip()}
        if normalized(new["prompt"]) == normalized(question_of(row)):
            return _dropped(new, "the question came back as it was")
        reply = await _said(teacher, section, new["prompt"])
    except (NoReply, Refused) as error:
        return _dropped(new, str(error))
    new |= {"reasoning_content": reply.reasoning_content, "content": reply.content}
    return _verified(new, reply)


def _verified(row: Row, reply: Reply) -> Row:
    """The gold must still be the answer."""
    if reply.problem is not None:
        return _dropped(row, f"the reply is not whole: {reply.problem}")
    grade = grade_accuracy(reply.content, str(row["answer"]))
    if grade.value != 1.0:
        said = " ".join(answer_of(row).split())[-60:]
        return _dropped(row, f"the answer changed: {said!r} is not {row['answer']!r}")
    return {**row, "kept": True, "dropped_by": None, "dropped_because": None}


async def _said(teacher: Teacher, section: BackTranslationSection, text: str) -> Reply:
    return await teacher.ask([{"role": "user", "content": text}], section.sampling)


def _dropped(row: Row, reason: str) -> Row:
    name = "back_translation"
    return {**row, "kept": False, "dropped_by": name, "dropped_because": f"{name}: {reason}"}


def _id(row: Row) -> str:
    return f"{row['id']}#back"
