"""Verifiable rewards: functions that say what a completion is worth, and why.

They follow TRL's contract (`GRPOTrainer(reward_funcs=[accuracy, think_format])` works as it is):
keyword lists in, one float or None a completion out. Beside each stands a function for one
completion that returns a `Grade`: value, outcome and a reason in words. None means "could not be
graded".

    grades, transcript   what goes out, what comes in
    extract              where a completion states its answer
    notation, statements one way of writing; prose
    number_words,        numbers in words; whole answers in words
      phrases
    units, unit_names,   what may be left out and what may not
      mixed_units, clock
    names, points,       what a result is called; points, remainders, numbers of choices, other
      residues,          bases and joined conditions in one shape
      counting, bases,
      relations
    forms                an answer taken apart by all of these
    equality             the verdict wherever no parser is needed
    math_compare         the verdict with Math-Verify, in a child
    math_parsing         Math-Verify's parser without its surprises
    math_structure,      lists, tuples, sets, intervals, matrices; values; sets of reals; answers
      math_values,       with a free constant
      real_sets, families
    workers              the pool of children that can be killed (children, fork_server: its two ends)
    math_accuracy        accuracy
    think_tags           think_format
    countdown_eval       countdown
    program_tests        passes_tests, in the sandbox
    model_judge          judge_rubric, judge_preference
    choices, matches     multiple_choice; exact_match, regex_match
    json_answers         json_schema (json_check: in a child)
    language             language_consistency (words: what a word is; identify: which language)
    lengths, repeats     overlong, cosine_length; repetition
    steps, tags          reasoning_steps; tag_count
    reward, registry     what a reward is; rewards by name
    mix                  their weighted sum
"""

from __future__ import annotations

from rewards.grades import Grade, Outcome, RewardResult
from rewards.math.math_accuracy import accuracy, grade_accuracy
from rewards.mix import RewardMix, RewardSpec
from rewards.shaping.language import grade_language, language_consistency
from rewards.shaping.lengths import cosine_length, grade_cosine, grade_overlong, overlong
from rewards.shaping.repeats import grade_repetition, repetition
from rewards.shaping.steps import grade_steps, reasoning_steps
from rewards.shaping.tags import grade_tags, tag_count
from rewards.shaping.think_tags import grade_format, think_format
from rewards.verifiers.choices import grade_choice, multiple_choice
from rewards.verifiers.countdown_eval import countdown, grade_countdown
from rewards.verifiers.json_answers import grade_json, json_schema
from rewards.verifiers.matches import exact_match, grade_exact, grade_regex, regex_match
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
