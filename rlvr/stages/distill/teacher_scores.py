"""A score from 0 to 10 for a row: by rule where a rule can tell, else by a judge, else none.

| row                                              | score                       | scored_by |
|--------------------------------------------------|-----------------------------|-----------|
| not whole                                        | none                        |           |
| labels in the recipe, and an answer              | 10: the label is it, else 0 | rule      |
| tests                                            | 10: all pass, else 0        | rule      |
| an answer, and one in the reply that can be read | Math-Verify: 10 or 0        | rule      |
| an answer, and nothing that a rule can read      | right or wrong: 10 or 0     | judge     |
| neither                                          | 0 to 10, with three axes    | judge     |
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rewards import Grade, Outcome, grade_accuracy, grade_tests
from rlvr.stages.distill.distill_config import DistillConfig
from rlvr.teacher.judge import Judge
from rlvr.teacher.labels import read_label
from rlvr.teacher.teacher_config import ScoringSection
from rlvr.teacher.teacher_prompts import hash_of

__all__ = ["RULE", "Score", "Scorer", "scoring_hash"]

RULE = "rule"
JUDGE = "judge"
FULL = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`Score(score=10.0, scored_by="rule", scores={"accuracy": 1.0}, reason="42 is 42", ...)`."""

    score: float | None  # 0 to 10; None: nobody could tell
    scored_by: str | None  # rule or judge; None: neither
    scores: Mapping[str, float | None] = field(default_factory=dict)  # rule or axis -> value
    reason: str
    judge_retries: int = 0
    scoring: str  # hash of how it was scored

    @property
    def columns(self) -> dict[str, Any]:
        """As they stand in a row."""
        return {
            "score": self.score,
            "scored_by": self.scored_by,
            "scores": dict(self.scores),
            "score_reason": self.reason,
            "judge_retries": self.judge_retries,
            "scoring": self.scoring,
        }


def scoring_hash(config: DistillConfig) -> str:
    """Of all that a score hangs on: not of the judge's address."""
    section = config.scoring
    judge = section.judge
    models = sorted({one.model for one in judge.endpoints}) if judge else None
    sampling = judge.sampling.model_dump() if judge else None
    prompts = [section.correctness_prompt, section.quality_prompt, section.judge_tries]
    return hash_of([section.rules, config.labels, models, sampling, *prompts])[:16]


class Scorer:
    """Scores one row at a time; many at once do not hinder each other."""

    def __init__(self, config: DistillConfig, judge: Judge | None) -> None:
        self._section: ScoringSection = config.scoring
        self._labels = config.labels
        self._judge = judge
        self.hash = scoring_hash(config)

    async def score(self, row: Mapping[str, Any]) -> Score:
        """Raises NoReply or NoEndpointLeft where the judge does not answer."""
        if row.get("problem") is not None:
            return self._score(None, None, "not a whole reply")
        if self._labels and row.get("answer") is not None:
            is_right = read_label(row["content"], self._labels) == row["answer"]
            return self._by_rule("label", float(is_right), f"the label should be {row['answer']}")
        if row.get("tests") is not None and "passes_tests" in self._section.rules:
            grade = await asyncio.to_thread(grade_tests, _message(row), row["tests"])
            return self._by_rule("passes_tests", grade.value, grade.reason)
        if row.get("answer") is not None and "accuracy" in self._section.rules:
            grade = await asyncio.to_thread(grade_accuracy, _message(row), row["answer"])
            if self._judge is None or _is_decided(grade):
                return self._by_rule("accuracy", grade.value, grade.reason)
        return await self._by_judge(row)

    async def _by_judge(self, row: Mapping[str, Any]) -> Score:
        if self._judge is None:
            return self._score(None, None, "no rule is for this row, and there is no judge")
        verdict = await self._judge.verdict(row)
        return Score(
            score=verdict.score,
            scored_by=JUDGE if verdict.score is not None else None,
            scores=verdict.scores,
            reason=verdict.reason,
            judge_retries=verdict.num_retries,
            scoring=self.hash,
        )

    def _by_rule(self, rule: str, value: float | None, reason: str) -> Score:
        if value is None:
            return self._score(None, None, reason, {rule: None})
        return self._score(FULL * value, RULE, reason, {rule: value})

    def _score(
        self,
        score: float | None,
        scored_by: str | None,
        reason: str,
        scores: Mapping[str, float | None] | None = None,
    ) -> Score:
        return Score(
            score=score,
            scored_by=scored_by,
            scores=scores or {},
            reason=reason,
            scoring=self.hash,
        )


def _is_decided(grade: Grade) -> bool:
    """Also by an answer that is wrong, but not by one that no rule can find or read."""
    return grade.value is not None and grade.outcome is not Outcome.NO_ANSWER


def _message(row: Mapping[str, Any]) -> dict[str, Any]:
    """The reply as a chat message; the thought is never read for an answer."""
    return {
        "role": "assistant",
        "content": row["content"],
        "reasoning_content": row.get("reasoning_content"),
    }
