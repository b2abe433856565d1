"""One row of a distillation: the teacher is asked until a reply will do, or often enough.

question --teacher--> reply: whole? a label of the set? verified?  --no--> asked again
                                                                  --yes, or no more--> row
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.stages.distill.distill_inputs import Question
from rlvr.stages.distill.teacher_scores import Score, Scorer
from rlvr.teacher import NoReply, Refused, Reply, Teacher
from rlvr.teacher.labels import read_label
from rlvr.teacher.teacher_prompts import TeacherPrompt, hash_of
from rlvr.teacher.text_lengths import token_lengths

__all__ = ["Asker", "Unanswered"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A question whose calls all failed; it is asked again by the next run."""

    id: str
    reason: str


class Asker:
    """Makes rows; what each reply cost is told to `note`."""

    def __init__(
        self,
        config: DistillConfig,
        prompt: TeacherPrompt,
        teacher: Teacher,
        *,
        source: str,
        scorer: Scorer | None,  # None: replies are not verified one by one
        note: Callable[[str, Reply], None],
    ) -> None:
        self._config = config
        self._prompt = prompt
        self._teacher = teacher
        self._source = source
        self._scorer = scorer
        self._note = note

    async def row(self, question: Question) -> Row | Unanswered:
        """The row, whatever became of it. Raises NoEndpointLeft."""
        messages = self._prompt.render(question.task)
        row = self._empty_row(question, messages)
        num_calls = 0
        for attempt in range(self._config.verify_attempts):
            try:
                reply = await self._teacher.ask(
                    messages,
                    self._config.sampling,
                    prefill=self._prompt.prefill,
                    seed=zlib.crc32(f"{self._config.seed}/{question.id}/{attempt}".encode()),
                )
            except Refused as error:
                return {**row, "problem": f"refused: {error}", "attempts": attempt}
            except NoReply as error:
                return Unanswered(id=question.id, reason=str(error))
            self._note(question.id, reply)
            num_calls += reply.num_calls
            row |= self._of_reply(reply, messages) | {"attempts": attempt + 1, "calls": num_calls}
            try:
                score = await self._verified(row)
            except NoReply as error:  # of the judge
                return Unanswered(id=question.id, reason=str(error))
            row |= score.columns if score is not None else {}
            if row["problem"] is None and (score is None or self._is_enough(score)):
                break
        return row

    async def _verified(self, row: Mapping[str, Any]) -> Score | None:
        return await self._scorer.score(row) if self._scorer is not None else None

    def _is_enough(self, score: Score) -> bool:
        least = self._config.filter.min_score
        return least is not None and score.score is not None and score.score >= least

    def _empty_row(self, question: Question, messages: list[dict[str, str]]) -> Row:
        task = question.task
        source = task.columns.get("repo_name") or task.columns.get("source") or self._source
        return {
            **task.columns,
            "id": question.id,
            "task_id": task.id,
            "prompt": task.prompt,
            "reasoning_content": None,
            "content": "",
            "repo_name": source,
            "template_sha256": self._prompt.sha256,
            "prompt_sha256": hash_of(messages),
        }

    def _of_reply(self, reply: Reply, messages: list[dict[str, str]]) -> Row:
        label = read_label(reply.content, self._config.labels) if self._config.labels else None
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
        if not self._config.labels:
            return row
        if label is None and reply.problem is None:
            said = reply.content.strip()[-60:]
            row["problem"] = f"label: {said!r} is none of the set"
        return row | {"predicted_label": label}
