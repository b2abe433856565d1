"""Verifiable rewards: functions that say what a completion is worth, and why.

They follow TRL's contract (`GRPOTrainer(reward_funcs=[accuracy, think_format])` works as it is):
keyword lists in, one float or None a completion out. Beside each stands a function for one
completion that returns a `Grade`: value, outcome and a reason in words. None means "could not be
graded".

    grades, transcript   what goes out, what comes in
    extract              where a completion states its answer
    notation, units,     one way of writing; what may be left out; prose
      statements
    equality             the verdict wherever no parser is needed
    math_compare         the verdict with Math-Verify, in a child
    math_parsing         Math-Verify's parser without its surprises
    math_structure       lists, tuples, sets, intervals, matrices
    workers              the pool of children that can be killed (children, nursery: its two ends)
    math_accuracy        accuracy
    think_tags           think_format
    countdown_eval       countdown
    registry, mix        rewards by name, and their weighted sum
"""

from __future__ import annotations

from rewards.countdown_eval import countdown, grade_countdown
from rewards.grades import Grade, Outcome, RewardResult
from rewards.math_accuracy import accuracy, grade_accuracy, shutdown
from rewards.mix import RewardMix, RewardSpec
from rewards.think_tags import grade_format, think_format
from rewards.workers import WorkersUnavailable

__all__ = [
    "Grade",
    "Outcome",
    "RewardMix",
    "RewardResult",
    "RewardSpec",
    "WorkersUnavailable",
    "accuracy",
    "countdown",
    "grade_accuracy",
    "grade_countdown",
    "grade_format",
    "shutdown",
    "think_format",
]
