"""One row of a distillation: ask the teacher until a reply passes, at most verify_attempts times.

question --teacher--> reply: complete? a label of the set? verified?  --no--> asked again
                                                                 --yes, or no more--> row
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.stages.distill.row_scores import RowScore, RowScorer, read_label
from rlvr.teacher import Refused, Teacher, TeacherReply, Usage
from rlvr.teacher.teacher_prompts import TeacherPrompt, hash_of
from rlvr.types import Task

__all__ = ["Question", "TeacherRows", "token_lengths"]

Row = dict[str, Any]

_WORD = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\W_]+|[^\w\s]|_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A task and the number of its reply, which become one row."""

    id: str  # "gsm8k/7#0"
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherRows:
    """Makes rows from a teacher's replies."""

    config: DistillConfig
    prompt: TeacherPrompt
    teacher: Teacher
    source: str  # name of the tasks
    scorer: RowScorer | None  # None: replies are not verified one by one
    note: Callable[[str, TeacherReply], None]  # called with each reply, for its cost

    async def row(self, question: Question) -> Row:
        """Return the row of a question, with its `problem` if any.

        Raises:
            NoReply, NoEndpointLeft: of the teacher or the judge, see Teacher.ask.
        """
        messages = self.prompt.render(question.task)
        row = self._empty_row(question, messages)
        num_calls = 0
        for attempt in range(self.config.verify_attempts):
            try:
                reply = await self.teacher.ask(
                    messages,
                    self.config.sampling,
                    prefill=self.prompt.prefill,
                    seed=zlib.crc32(f"{self.config.seed}/{question.id}/{attempt}".encode()),
                )
            except Refused as error:
                return {**row, "problem": f"refused: {error}", "attempts": attempt}
            self.note(question.id, reply)
            num_calls += reply.num_calls
            row |= self._reply_columns(reply, messages)
            row |= {"attempts": attempt + 1, "calls": num_calls}
            score = await self.scorer.score(row) if self.scorer is not None else None
            row |= asdict(score) if score is not None else {}
            if row["problem"] is None and (score is None or self._is_verified(score)):
                break
        return row

    def _is_verified(self, score: RowScore) -> bool:
        least = self.config.filter.min_score
        return least is not None and score.score is not None and score.score >= least

    def _empty_row(self, question: Question, messages: list[dict[str, str]]) -> Row:
        task = question.task
        source = task.columns.get("repo_name") or task.columns.get("source") or self.source
        return {
            **task.columns,
            "id": question.id,
            "task_id": task.id,
            "prompt": task.prompt,
            "reasoning_content": None,
            "content": "",
            "repo_name": source,
            "template_sha256": self.prompt.sha256,
            "prompt_sha256": hash_of(messages),
        }

    def _reply_columns(self, reply: TeacherReply, messages: list[dict[str, str]]) -> Row:
        row = {
            "reasoning_content": reply.reasoning_content,
            "content": reply.content,
            **token_lengths(
                reply.usage,
                prompt="\n".join(message["content"] for message in messages),
                reasoning_content=reply.reasoning_content,
                content=reply.content,
            ),
            "finish_reason": reply.finish_reason,
            "endpoint": reply.endpoint,
            "model": reply.model,
            "usage": asdict(reply.usage),
            "problem": f"malformed: {reply.problem}" if reply.problem is not None else None,
        }
        if self.config.labels:
            label = read_label(reply.content, self.config.labels)
            row["predicted_label"] = label
            if label is None and reply.problem is None:
                text = reply.content.strip()[-60:]
                row["problem"] = f"label: {text!r} is none of the set"
        return row


def token_lengths(
    usage: Usage, *, prompt: str, reasoning_content: str | None, content: str
) -> dict[str, Any]:
    """Return the columns of lengths in tokens, named as in Chinese-DeepSeek-R1-Distill-data-110k.

    | tokens_counted_by  | the endpoint counts                                          |
    |--------------------|--------------------------------------------------------------|
    | usage              | the reasoning apart                                          |
    | usage, characters  | reasoning and answer together: divided by characters here    |
    | words              | nothing: words, CJK characters and punctuation counted here  |
    """
    total, reasoning_len = usage.completion_tokens, usage.reasoning_tokens
    if usage.prompt_tokens is None or total is None:
        texts = (prompt, reasoning_content or "", content)
        return _length_columns(*(len(_WORD.findall(text)) for text in texts), by="words")
    by = "usage"
    if reasoning_len is None or reasoning_len > total:
        by = "usage, characters"
        num_chars = len(reasoning_content or "")
        reasoning_len = round(total * (num_chars / max(1, num_chars + len(content))))
    return _length_columns(usage.prompt_tokens, reasoning_len, total - reasoning_len, by=by)


def _length_columns(prompt: int, reasoning: int, content: int, *, by: str) -> dict[str, Any]:
    return {
        "prompt_tokens_len": prompt,
        "reasoning_content_tokens_len": reasoning,
        "content_tokens_len": content,
        "tokens_counted_by": by,
    }
