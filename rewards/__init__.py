"""Verifiable rewards: functions that grade completions, and the reason for each grade.

They follow TRL's contract (`GRPOTrainer(reward_funcs=[accuracy, think_format])` works as it is):
keyword lists in, one float or None per completion out. Each has a variant for one completion that
returns a `Grade`: value, outcome and reason. None means "could not be graded". A column of another
length than the completions, or a malformed completion, is a ValueError.

    base, mix      the types and rewards by name; their weighted sum
    transcript     completions as text or chat messages, and their reasoning
    math/          accuracy
    verifiers/     choices, texts, JSON, countdown, programs in the sandbox, model judges
    shaping/       the form, language, length and structure of a completion
    worker_pool/   child processes that are killed when they overrun
    __main__       `python -m rewards FILE`: rewards tried on a file

Each reward registers itself (`@reward` in base), so this module imports all of them.
"""

from __future__ import annotations

from rewards.base import Grade, Outcome, RewardResult
from rewards.math.math_accuracy import accuracy, grade_accuracy
from rewards.mix import RewardMix, RewardSpec
from rewards.shaping.language import grade_language, language_consistency
from rewards.shaping.lengths import cosine_length, grade_cosine, grade_overlong, overlong
from rewards.shaping.text_structure import (
    grade_repetition,
    grade_steps,
    reasoning_steps,
    repetition,
)
from rewards.shaping.think_tags import grade_format, grade_tags, tag_count, think_format
from rewards.verifiers.choices import grade_choice, multiple_choice
from rewards.verifiers.countdown_eval import countdown, grade_countdown
from rewards.verifiers.matches import (
    exact_match,
    grade_exact,
    grade_json,
    grade_regex,
    json_schema,
    regex_match,
)
from rewards.verifiers.model_judge import judge_preference, judge_rubric
from rewards.verifiers.program_tests import grade_tests, passes_tests, text_of_tests
from rewards.worker_pool.pool import WorkersUnavailable, shutdown

__all__ = [
    "Grade",
    "Outcome",
    "RewardMix",
    "RewardResult",
    "RewardSpec",
    "WorkersUnavailable",
    "accuracy",
    "cosine_length",
    "countdown",
    "exact_match",
    "grade_accuracy",
    "grade_choice",
    "grade_cosine",
    "grade_countdown",
    "grade_exact",
    "grade_format",
    "grade_json",
    "grade_language",
    "grade_overlong",
    "grade_regex",
    "grade_repetition",
    "grade_steps",
    "grade_tags",
    "grade_tests",
    "json_schema",
    "judge_preference",
    "judge_rubric",
    "language_consistency",
    "multiple_choice",
    "overlong",
    "passes_tests",
    "reasoning_steps",
    "regex_match",
    "repetition",
    "shutdown",
    "tag_count",
    "text_of_tests",
    "think_format",
]
