"""The learning rate by step, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from rlvr.config.training_sections import LearnerSection
from rlvr.learner.lr_schedule import lr_at


def rates(num_steps: int, **keys: Any) -> list[float]:
    """The rate of each step at a peak of 8."""
    section = LearnerSection(lr=8.0, **keys)
    return [lr_at(step, section, num_steps=num_steps) for step in range(num_steps)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [8, 8, 8, 8]),
        ({"warmup_steps": 4}, [2, 4, 6, 8, 8, 8]),
        ({"lr_schedule": "linear"}, [8, 6, 4, 2]),
        ({"lr_schedule": "linear", "min_lr_frac": 0.5}, [8, 7, 6, 5]),
        ({"lr_schedule": "linear", "warmup_steps": 2}, [4, 8, 8, 6, 4, 2]),
        # (1 + cos(pi / 4)) / 2 = 0.853553, (1 + cos(3 pi / 4)) / 2 = 0.146447
        ({"lr_schedule": "cosine"}, [8, 6.828427, 4, 1.171573]),
        ({"lr_schedule": "cosine", "min_lr_frac": 0.5}, [8, 7.414214, 6, 4.585786]),
        ({"lr_schedule": "cosine", "warmup_steps": 8}, [1, 2, 3, 4]),
        ({"lr_schedule": "linear", "warmup_steps": 2}, [4, 8]),
    ],
)
def test_warm_up_then_the_schedule(keys: dict[str, Any], expected: list[float]) -> None:
    assert rates(len(expected), **keys) == pytest.approx(expected)


def test_more_steps_stretch_the_schedule_and_fewer_end_at_the_floor() -> None:
    section = LearnerSection(lr=8.0, lr_schedule="linear", min_lr_frac=0.25)
    assert lr_at(4, section, num_steps=8) == 8 * (0.25 + 0.75 * 0.5)
    assert lr_at(4, section, num_steps=4) == 2
