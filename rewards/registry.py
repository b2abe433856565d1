"""The rewards that have a name, and any other function by its dotted path.

A registered reward grades with outcome and reason and declares, readable without a call, which
columns it needs and between which values it lies. Adding one is a function and a line in
`REGISTERED`.

"package.module:function" loads a user's own (see rewards.reward).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewards.grades import Grade
from rewards.math.math_accuracy import grade_accuracies
from rewards.reward import Batch, GradeBatch, Part, Reward, reward_of
from rewards.shaping.language import check_language, grade_languages
from rewards.shaping.lengths import (
    COSINE_VALUES,
    check_cosine,
    check_overlong,
    grade_cosine,
    grade_overlong,
    lengths_of,
)
from rewards.shaping.repeats import check_repetition, grade_repetition
from rewards.shaping.steps import check_steps, grade_steps
from rewards.shaping.tags import grade_tags
from rewards.shaping.think_tags import check_profile, grade_formats
from rewards.verifiers.choices import grade_choices
from rewards.verifiers.countdown_eval import grade_countdown
from rewards.verifiers.json_answers import check_schema, grade_jsons
from rewards.verifiers.matches import grade_exacts, grade_regexes
from rewards.verifiers.model_judge import Endpoint, check_part, grade_preferences, grade_rubrics
from rewards.verifiers.program_tests import grade_programs

__all__ = ["REGISTERED", "load_reward"]


def load_reward(name: str) -> Reward:
    """A registered reward, or the function at "package.module:function".

    Raises:
        ValueError: there is no such reward, module or function.
    """
    if name in REGISTERED:
        return REGISTERED[name]
    module_name, colon, function_name = name.partition(":")
    if not colon:
        known = ", ".join(REGISTERED)
        raise ValueError(f"no reward {name!r}; known: {known}; your own: package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), function_name, None)
    except ImportError as error:
        raise ValueError(f"reward {name!r}: cannot import {module_name}: {error}") from error
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ValueError(f"reward {name!r}: {module_name} has no plain function {function_name!r}")
    return reward_of(name, function)


def _check_flag(name: str, options: Mapping[str, Any]) -> None:
    if not isinstance(options.get(name, False), bool):
        raise ValueError(f"{name} is {options[name]!r}; allowed: true, false")


def _as_part(grade: Grade) -> Part:
    return Part(grade.value, grade.outcome.value, grade.reason)


def _accuracy(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    grades = grade_accuracies(
        batch.completions,
        batch.columns["answer"],
        batch.think_prefilled,
        worked_out=options.get("worked_out", False),
    )
    return [_as_part(grade) for grade in grades]


def _think_format(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    profile = options.get("profile", "zero")
    grades = grade_formats(batch.completions, batch.think_prefilled, profile=profile)
    return [_as_part(grade) for grade in grades]


def _countdown(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    rows = zip(
        batch.completions,
        batch.columns["numbers"],
        batch.columns["target"],
        batch.think_prefilled,
        strict=True,
    )
    return [
        _as_part(grade_countdown(completion, numbers=given, target=goal, think_prefilled=is_open))
        for completion, given, goal, is_open in rows
    ]


def _passes_tests(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    grades = grade_programs(
        batch.completions,
        batch.columns["tests"],
        batch.think_prefilled,
        partial=options.get("partial", False),
    )
    return [_as_part(grade) for grade in grades]


def _by_column(grade_many: Callable[..., Sequence[Grade]], column: str) -> GradeBatch:
    """Of a function that grades against one column, or an option in its place."""

    def grade(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
        given = {column: batch.columns.get(column), **options}
        golds = given.pop(column)
        grades = grade_many(batch.completions, golds, batch.think_prefilled, **given)
        return [_as_part(grade) for grade in grades]

    return grade


def _each(grade_one: Callable[..., Grade]) -> GradeBatch:
    """Of a function that needs nothing but a completion."""

    def grade(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
        return [_as_part(grade_one(completion, **options)) for completion in batch.completions]

    return grade


def _tag_count(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    rows = zip(batch.completions, batch.think_prefilled, strict=True)
    return [
        _as_part(grade_tags(completion, think_prefilled=is_open)) for completion, is_open in rows
    ]


def _overlong(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    lengths = lengths_of(batch.completions, batch.completion_ids)
    return [_as_part(grade_overlong(num_tokens, **options)) for num_tokens in lengths]


def _cosine_length(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    lengths = lengths_of(batch.completions, batch.completion_ids)
    grades = grade_accuracies(batch.completions, batch.columns["answer"], batch.think_prefilled)
    marks = [None if grade.value is None else grade.value >= 1 for grade in grades]
    return [
        _as_part(grade_cosine(num_tokens, is_right, **options))
        for num_tokens, is_right in zip(lengths, marks, strict=True)
    ]


_OF_ENDPOINTS = ("url", "model", "key_env", "concurrency", "timeout_s")
_OF_JUDGES = ("rubric", "part")


def _judge_rubric(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    endpoint, rest = _endpoint(options)
    prompts = batch.prompts or [""] * len(batch.completions)
    grades = grade_rubrics(batch.completions, prompts, batch.think_prefilled, endpoint, **rest)
    return [_as_part(grade) for grade in grades]


def _judge_preference(batch: Batch, options: Mapping[str, Any]) -> Sequence[Part]:
    endpoint, rest = _endpoint(options)
    prompts = batch.prompts or [""] * len(batch.completions)
    references = batch.columns["reference"]
    grades = grade_preferences(
        batch.completions, references, prompts, batch.think_prefilled, endpoint, **rest
    )
    return [_as_part(grade) for grade in grades]


def _endpoint(options: Mapping[str, Any]) -> tuple[Endpoint, dict[str, Any]]:
    for name in ("url", "model"):
        if name not in options:
            raise ValueError(f"{name} is missing; a judge needs url and model")
    check_part(options.get("part", "answer"))
    given = {name: options[name] for name in _OF_ENDPOINTS if name in options}
    return Endpoint(**given), {name: options[name] for name in _OF_JUDGES if name in options}


def _check_judge(options: Mapping[str, Any]) -> None:
    _endpoint(options)


REGISTERED: Mapping[str, Reward] = {
    "accuracy": Reward(
        name="accuracy",
        required_columns=("answer",),
        value_range=(0.0, 1.0),
        options=("worked_out",),
        grade=_accuracy,
        check_options=lambda options: _check_flag("worked_out", options),
    ),
    "think_format": Reward(
        name="think_format",
        required_columns=(),
        value_range=(0.0, 1.0),
        options=("profile",),
        grade=_think_format,
        check_options=lambda options: check_profile(options.get("profile", "zero")),
    ),
    "countdown": Reward(
        name="countdown",
        required_columns=("numbers", "target"),
        value_range=(0.0, 1.0),
        options=(),
        grade=_countdown,
    ),
    "passes_tests": Reward(
        name="passes_tests",
        required_columns=("tests",),
        value_range=(0.0, 1.0),
        options=("partial",),
        grade=_passes_tests,
        check_options=lambda options: _check_flag("partial", options),
        uses_sandbox=True,
    ),
    "multiple_choice": Reward(
        name="multiple_choice",
        required_columns=("answer",),
        value_range=(0.0, 1.0),
        options=(),
        grade=_by_column(grade_choices, "answer"),
    ),
    "exact_match": Reward(
        name="exact_match",
        required_columns=("answer",),
        value_range=(0.0, 1.0),
        options=("ignore_case",),
        grade=_by_column(grade_exacts, "answer"),
        check_options=lambda options: _check_flag("ignore_case", options),
    ),
    "regex_match": Reward(
        name="regex_match",
        required_columns=("pattern",),
        value_range=(0.0, 1.0),
        options=("pattern",),
        grade=_by_column(grade_regexes, "pattern"),
    ),
    "json_schema": Reward(
        name="json_schema",
        required_columns=("schema",),
        value_range=(0.0, 1.0),
        options=("schema",),
        grade=_by_column(grade_jsons, "schema"),
        check_options=lambda options: check_schema(options.get("schema", {})),
    ),
    "language_consistency": Reward(
        name="language_consistency",
        required_columns=("language",),
        value_range=(0.0, 1.0),
        options=("language",),
        grade=_by_column(grade_languages, "language"),
        check_options=lambda options: check_language(options.get("language", "en")),
    ),
    "overlong": Reward(
        name="overlong",
        required_columns=(),
        value_range=(-1.0, 0.0),
        options=("max_tokens", "cache_tokens"),
        grade=_overlong,
        check_options=check_overlong,
        wants=("completion_ids",),
    ),
    "cosine_length": Reward(
        name="cosine_length",
        required_columns=("answer",),
        value_range=(-1.0, 1.0),
        options=("max_tokens", *COSINE_VALUES),
        grade=_cosine_length,
        check_options=check_cosine,
        wants=("completion_ids",),
    ),
    "repetition": Reward(
        name="repetition",
        required_columns=(),
        value_range=(-1.0, 0.0),
        options=("ngram_size", "max_penalty"),
        grade=_each(grade_repetition),
        check_options=check_repetition,
    ),
    "reasoning_steps": Reward(
        name="reasoning_steps",
        required_columns=(),
        value_range=(0.0, 1.0),
        options=("num_steps",),
        grade=_each(grade_steps),
        check_options=check_steps,
    ),
    "tag_count": Reward(
        name="tag_count",
        required_columns=(),
        value_range=(0.0, 1.0),
        options=(),
        grade=_tag_count,
    ),
    "judge_rubric": Reward(
        name="judge_rubric",
        required_columns=(),
        value_range=(0.0, 1.0),
        options=(*_OF_ENDPOINTS, *_OF_JUDGES),
        grade=_judge_rubric,
        check_options=_check_judge,
        wants=("prompts",),
    ),
    "judge_preference": Reward(
        name="judge_preference",
        required_columns=("reference",),
        value_range=(0.0, 1.0),
        options=(*_OF_ENDPOINTS, *_OF_JUDGES),
        grade=_judge_preference,
        check_options=_check_judge,
        wants=("prompts",),
    ),
}
