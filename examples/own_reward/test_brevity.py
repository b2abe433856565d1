"""The test of the reward: a table from completion to value."""

from __future__ import annotations

import pytest
from own_reward.brevity import brevity


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<think>" + "x" * 50 + "</think><answer>5</answer>", 0.75),
        ("<think>" + "x" * 300 + "</think><answer>5</answer>", 0.0),
        ("5", 0.0),  # not well-formed
        ("<think>x</think><answer>5</answer> and more", 0.0),
    ],
)
def test_short_reasoning_earns_more(completion: str, value: float) -> None:
    assert brevity([completion]) == [value]


def test_the_limit_is_an_option() -> None:
    assert brevity(["<think>xx</think><answer>5</answer>"], max_chars=4) == [0.5]
