"""Rewards by name: each through a mix, with columns and options as a recipe gives them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import rewards
from rewards import RewardMix
from rewards.base import REGISTERED

GOOD = "<think>so it is five</think><answer>5</answer>"
ROWS: list[tuple[str, str, Mapping[str, Any], Mapping[str, Any], float]] = [
    ("accuracy", GOOD, {"answer": "5"}, {}, 1.0),
    ("think_format", GOOD, {}, {"profile": "zero"}, 1.0),
    ("countdown", "<answer>2+3</answer>", {"numbers": [2, 3], "target": 5}, {}, 1.0),
    ("multiple_choice", "<answer>(B)</answer>", {"answer": "B"}, {}, 1.0),
    ("exact_match", "<answer>yes</answer>", {"answer": "Yes"}, {"ignore_case": True}, 1.0),
    ("regex_match", GOOD, {"pattern": r"\d"}, {}, 1.0),
    ("regex_match", GOOD, {}, {"pattern": r"\d"}, 1.0),
    ("json_schema", GOOD, {"schema": '{"type": "integer"}'}, {}, 1.0),
    ("json_schema", GOOD, {}, {"schema": {"type": "integer"}}, 1.0),
    ("language_consistency", GOOD, {"language": "en"}, {}, 1.0),
    ("language_consistency", GOOD, {}, {"language": "zh"}, 0.0),
    ("overlong", GOOD, {}, {"max_tokens": 12, "cache_tokens": 4}, -0.5),
    ("cosine_length", GOOD, {"answer": "5"}, {"max_tokens": 20}, 0.75),
    ("cosine_length", GOOD, {"answer": "6"}, {"max_tokens": 20, "max_value_wrong": -1}, -1.0),
    ("repetition", "so so so so", {}, {"ngram_size": 2, "max_penalty": -0.3}, -0.2),
    ("reasoning_steps", "1. add both\n2. halve it", {}, {"num_steps": 4}, 0.5),
    ("tag_count", GOOD, {}, {}, 1.0),
]


def grade(name: str, text: str, columns: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    mix = RewardMix({name: {"options": dict(options)}})
    listed: dict[str, Sequence[Any]] = {column: [entry] for column, entry in columns.items()}
    return mix.grade([text], listed, completion_ids=[[7] * 10])[0]


@pytest.mark.parametrize(("name", "text", "columns", "options", "value"), ROWS)
def test_a_recipe_can_name_it(
    name: str, text: str, columns: Mapping[str, Any], options: Mapping[str, Any], value: float
) -> None:
    result = grade(name, text, columns, options)
    assert result.value == pytest.approx(value), result.reasons
    ends = REGISTERED[name].value_range
    assert ends is not None
    assert ends[0] <= value <= ends[1]


@pytest.mark.parametrize("name", REGISTERED)
def test_the_package_exports_it_and_it_can_be_pickled(name: str) -> None:
    function = getattr(rewards, name)
    assert function.__name__ == name  # the name that TRL logs
    assert pickle.loads(pickle.dumps(function)) is function


def test_every_registered_reward_is_tried_here_or_needs_more_than_text() -> None:
    untried = set(REGISTERED) - {name for name, *_ in ROWS}
    assert untried == {"judge_preference", "judge_rubric", "passes_tests"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("overlong", {}, "'overlong': max_tokens is None"),
        ("overlong", {"max_tokens": 9, "cache_tokens": 10}, "must not be above max_tokens"),
        ("cosine_length", {"max_tokens": 1.5}, "max_tokens is 1.5"),
        ("repetition", {"max_penalty": 1}, "max_penalty is 1; it must be"),
        ("reasoning_steps", {"num_steps": 0}, "num_steps is 0; it must be"),
        ("language_consistency", {"language": "xx"}, "language is 'xx'; allowed: ar, de"),
        ("json_schema", {"schema": 5}, "schema is 5; it must be a mapping"),
        ("exact_match", {"ignore_case": "yes"}, "ignore_case is 'yes'; allowed: true, false"),
        ("tag_count", {"x": 1}, "has no option 'x'; allowed: none"),
    ],
)
def test_wrong_options_are_refused_before_the_first_call(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RewardMix({name: {"options": options}})


def test_a_data_column_named_like_an_option_does_not_set_it() -> None:
    assert grade("think_format", GOOD, {"profile": "no profile"}, {}).value == 1.0


def test_token_ids_are_requested_where_they_are_needed() -> None:
    options = {"max_tokens": 12, "cache_tokens": 4}
    mix = RewardMix({"overlong": {"options": options}, "accuracy": 1.0})
    assert mix.wants == ("completion_ids",)
    with pytest.raises(ValueError, match="completion_ids: needs a list of 1 entries, not none"):
        mix.grade([GOOD], {"answer": ["5"]})
