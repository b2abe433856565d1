"""What a reward says of one completion: a value, an outcome and a reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Grade", "Outcome", "RewardResult"]


class Outcome(StrEnum):
    """Why a completion got its value."""

    CORRECT = "correct"  # full marks
    WRONG = "wrong"  # less than full marks: 0, or the part that was earned
    NO_ANSWER = "no_answer"  # nothing that could be taken for an answer; 0
    TRUNCATED = "truncated"  # the thought never ended; 0
    UNGRADABLE_GOLD = "ungradable_gold"  # the gold cannot be read: the row's fault; None
    TIMEOUT = "timeout"  # grading it died twice while an honest control row passed; 0
    ERROR = "error"  # grading is broken: the control row failed too; None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One reward of a completion, say `Grade(value=0.0, outcome=WRONG, reason="41 is not 42")`."""

    value: float | None  # None: could not be graded; never a silent 0
    outcome: Outcome
    reason: str  # for people; empty where there is nothing to add


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardResult:
    """The reward of one completion: a weighted sum and the parts that went into it."""

    value: (
        float | None
    )  # None: a part could not be graded; the completion leaves statistics and loss
    parts: Mapping[str, float | None]  # reward name -> unweighted value
    outcomes: Mapping[str, str] = field(default_factory=dict)  # reward name -> outcome
    reasons: Mapping[str, str] = field(default_factory=dict)  # reward name -> why, in words
