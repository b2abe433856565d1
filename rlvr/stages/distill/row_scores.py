"""A score from 0 to 10 for a row: by a rule where one applies, else by a judge, else none.

| row                                         | score                             | scored_by |
|---------------------------------------------|-----------------------------------|-----------|
| incomplete                                  | none                              |           |
| labels in the recipe, and an answer         | 10: the label is it, else 0       | rule      |
| tests                                       | 10: all pass, else 0              | rule      |
| an answer, and a readable one in the reply  | 10 or 0, by Math-Verify           | rule      |
| an answer, and none that a rule can read    | 10 or 0, right or wrong           | judge     |
| neither                                     | 0 to 10, with three axes          | judge     |
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rewards import Outcome, grade_accuracy, grade_tests
from rewards.math.extract import last_boxed
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.teacher.judge import Judge
from rlvr.teacher.teacher_prompts import hash_of

__all__ = ["RULE", "RowScore", "RowScorer", "read_label", "scoring_hash"]

RULE = "rule"
JUDGE = "judge"
FULL = 10.0

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_NAMED = re.compile(r"^[^:：]{0,24}[:：]")  # noqa: RUF001 - full-width colons are meant
_AROUND = " \t\r\n*_`'\"“”‘’「」《》()（）[]【】.。,，;；!！"  # noqa: RUF001


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScore:
    """Columns of a row: `RowScore(score=10.0, scored_by="rule", scores={"accuracy": 1.0}, ...)`."""

    score: float | None = None  # 0 to 10; None: neither rule nor judge could tell
    scored_by: str | None = None  # "rule" or "judge"
    scores: Mapping[str, float | None] = field(default_factory=dict)  # rule or axis -> value
    score_reason: str
    judge_retries: int = 0
    scoring: str  # hash of the scoring


class RowScorer:
    """Scores one row at a time; calls may run concurrently."""

    def __init__(self, config: DistillConfig, judge: Judge | None) -> None:
        self._rules = config.scoring.rules
        self._labels = config.labels
        self._judge = judge
        self.hash = scoring_hash(config)
        self._result = partial(RowScore, scoring=self.hash)

    async def score(self, row: Mapping[str, Any]) -> RowScore:
        """Return the score of a row. Raises NoReply or NoEndpointLeft from the judge."""
        answer, tests = row.get("answer"), row.get("tests")
        if row.get("problem") is not None:
            return self._result(score_reason="not a whole reply")
        if self._labels and answer is not None:
            is_right = read_label(row["content"], self._labels) == answer
            return self._by_rule("label", float(is_right), f"the label should be {answer}")
        message = {  # no rule looks for an answer in the reasoning
            "role": "assistant",
            "content": row["content"],
            "reasoning_content": row.get("reasoning_content"),
        }
        if tests is not None and "passes_tests" in self._rules:
            grade = await asyncio.to_thread(grade_tests, message, tests)
            return self._by_rule("passes_tests", grade.value, grade.reason)
        if answer is not None and "accuracy" in self._rules:
            grade = await asyncio.to_thread(grade_accuracy, message, answer)
            # a wrong answer decides too, but not one that no rule can find or read
            is_decided = grade.value is not None and grade.outcome is not Outcome.NO_ANSWER
            if self._judge is None or is_decided:
                return self._by_rule("accuracy", grade.value, grade.reason)
        if self._judge is None:
            return self._result(score_reason="no rule applies to this row, and there is no judge")
        judged = await self._judge.score(row)
        return self._result(
            score=judged.score,
            scored_by=JUDGE if judged.score is not None else None,
            scores=judged.scores,
            score_reason=judged.reason,
            judge_retries=judged.num_retries,
        )

    def _by_rule(self, rule: str, value: float | None, reason: str) -> RowScore:
        if value is None:
            return self._result(score_reason=reason, scores={rule: None})
        return self._result(
            score=FULL * value, scored_by=RULE, score_reason=reason, scores={rule: value}
        )


def scoring_hash(config: DistillConfig) -> str:
    """Hash everything that determines a score; the judge's address does not."""
    section = config.scoring
    judge = section.judge
    models = sorted({one.model for one in judge.endpoints}) if judge else None
    sampling = judge.sampling.model_dump() if judge else None
    prompts = [section.correctness_prompt, section.quality_prompt, section.judge_tries]
    return hash_of([section.rules, config.labels, models, sampling, *prompts])[:16]


def read_label(content: str, labels: Sequence[str]) -> str | None:
    r"""Return the label that a reply gives, as `labels` writes it, or None.

    "体育", "**体育**。", "<answer>体育</answer>", "... \\boxed{体育}" and "Label: 体育" give 体育.
    """
    known = {_strip(label): label for label in labels}
    return next((known[text] for text in map(_strip, _candidates(content)) if text in known), None)


def _candidates(content: str) -> Iterator[str]:
    """Yield the places of a label, the most explicit first."""
    yield from _TAGGED.findall(content)[-1:]
    if boxed := last_boxed(content):
        yield boxed
    yield content
    if lines := content.strip().splitlines():
        yield lines[-1]
        yield _NAMED.sub("", lines[-1].strip(_AROUND))


def _strip(text: str) -> str:
    return text.strip(_AROUND).casefold()
