from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from rlvr.grpo.advantages import AdvantageScale, assign_advantages, has_signal
from rlvr.types import Completion, FinishReason, Group, RewardResult, Rollout, Task


def group_of(rewards: Sequence[float | None]) -> Group:
    completion = Completion.sampled(
        np.array([5], np.int32),
        np.array([-1.0], np.float32),
        text="5",
        finish_reason=FinishReason.STOP,
        policy_version=0,
    )
    return Group(
        task=Task(id="sums/0", prompt="2+3="),
        prompt_token_ids=np.array([2, 3], np.int32),
        rollouts=tuple(
            Rollout(completion=completion, reward=RewardResult(value=value, grades={}))
            for value in rewards
        ),
    )


def advantages_of(
    rewards: Sequence[float | None], scale: AdvantageScale = "std"
) -> list[float | None]:
    [group] = assign_advantages([group_of(rewards)], scale=scale)
    return [rollout.advantage for rollout in group.rollouts]


def test_std_is_the_deviation_of_a_sample_plus_an_epsilon() -> None:
    # mean 0.5; squares 4 x 0.25 = 1; over 4 - 1: variance 1/3
    expected = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    assert advantages_of([1.0, 0.0, 0.0, 1.0]) == pytest.approx(
        [expected, -expected, -expected, expected], rel=1e-12
    )
    # mean 3; squares 4 + 1 + 9 = 14; over 2: std sqrt(7)
    assert advantages_of([1.0, 2.0, 6.0]) == pytest.approx(
        [x / (math.sqrt(7) + 1e-4) for x in (-2.0, -1.0, 3.0)], rel=1e-12
    )


def test_none_only_takes_the_mean_off() -> None:
    assert advantages_of([1.0, 2.0, 6.0], scale="none") == [-2.0, -1.0, 3.0]


@pytest.mark.parametrize("scale", ["std", "none"])
@pytest.mark.parametrize("rewards", [[0.1, 0.1, 0.1], [1.0] * 7, [0.7], [0.0, 0.0]])
def test_equal_rewards_or_one_alone_give_exactly_zero(
    rewards: list[float], scale: AdvantageScale
) -> None:
    assert advantages_of(rewards, scale=scale) == [0.0] * len(rewards)
    assert not has_signal(group_of(rewards))


def test_what_could_not_be_graded_stays_out_of_the_statistics() -> None:
    with_gaps = advantages_of([1.0, None, 2.0, 6.0, None])
    assert with_gaps[1] is None
    assert with_gaps[4] is None
    assert [with_gaps[0], with_gaps[2], with_gaps[3]] == advantages_of([1.0, 2.0, 6.0])
    assert advantages_of([None, 3.0]) == [None, 0.0]
    assert advantages_of([None, None]) == [None, None]


def test_groups_are_apart_and_the_given_ones_unchanged() -> None:
    given = [group_of([0.0, 1.0]), group_of([10.0, 12.0])]
    first, second = assign_advantages(given, scale="none")
    assert [rollout.advantage for rollout in first.rollouts] == [-0.5, 0.5]
    assert [rollout.advantage for rollout in second.rollouts] == [-1.0, 1.0]
    assert all(rollout.advantage is None for group in given for rollout in group.rollouts)
    assert first.task is given[0].task


def test_a_group_has_signal_when_its_graded_rewards_differ() -> None:
    assert has_signal(group_of([1.0, 0.0]))
    assert has_signal(group_of([None, 1.0, 0.0]))
    assert not has_signal(group_of([None, 1.0, 1.0]))
    assert not has_signal(group_of([None, None]))
