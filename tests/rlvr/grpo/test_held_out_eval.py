"""pass@1 and its error, pass@k, majority vote: against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from math import sqrt

import pytest
from fakes import completion_of, group_of, rollout_of

from rlvr.grpo.held_out_eval import Evaluation, pass_at_k, reported_ks, summarize
from rlvr.types import FinishReason, Group, Rollout


def evaluated(*groups: Group, format_by: str | None = None) -> Evaluation:
    return summarize(
        groups, step=4, correct_by="accuracy", format_by=format_by, think_prefilled=False
    )


def answers(*texts: str, right: str = "5") -> Group:
    """A group whose completions state these answers; an empty text states none."""
    return group_of(
        *(
            rollout_of(float(text == right), f"<answer>{text}</answer>" if text else "I give up")
            for text in texts
        )
    )


@pytest.mark.parametrize("num_samples", [1, 2, 5, 6])
def test_pass_at_k_is_the_share_of_choices_of_k_with_a_right_one(num_samples: int) -> None:
    for num_right in range(num_samples + 1):
        is_right = [i < num_right for i in range(num_samples)]
        for k in range(1, num_samples + 1):
            choices = list(combinations(is_right, k))
            share = sum(any(choice) for choice in choices) / len(choices)
            assert pass_at_k(num_samples, num_right, k) == pytest.approx(share, abs=1e-12)


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 1, 2) == 0.5  # 3 of the 6 pairs hold the right one
    assert pass_at_k(200, 1, 1) == pytest.approx(0.005)


@pytest.mark.parametrize("k", [0, 5])
def test_pass_at_k_needs_k_completions(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}, with 4 completions it must be from 1 to 4"):
        pass_at_k(4, 1, k)


@pytest.mark.parametrize(
    ("num_samples", "ks"), [(1, []), (2, [2]), (6, [2, 4, 6]), (8, [2, 4, 8]), (9, [2, 4, 8, 9])]
)
def test_pass_at_k_is_reported_for_powers_of_two_and_for_all_completions(
    num_samples: int, ks: list[int]
) -> None:
    assert reported_ks(num_samples) == ks


def test_pass_at_k_is_a_mean_over_tasks() -> None:
    found = evaluated(
        group_of(*(rollout_of(value) for value in (1.0, 0.0, 0.0, 0.0))),
        group_of(*(rollout_of(0.0) for _ in range(4))),
    )
    # of the first task 3 of 6 pairs hold the right one, and the only four; of the second none
    assert found.pass_at == {2: 0.25, 4: 0.5}
    metrics = found.metrics()
    assert (metrics["eval/pass_at_1"], metrics["eval/pass_at_2"]) == (0.125, 0.25)
    assert metrics["eval/pass_at_4"] == metrics["eval/pass_at_k"] == 0.5
    assert "eval/pass_at" not in metrics


def test_pass_at_1_is_a_mean_over_tasks_with_their_standard_error() -> None:
    found = evaluated(
        group_of(rollout_of(1.0), rollout_of(1.0)),
        group_of(rollout_of(1.0), rollout_of(0.0)),
        group_of(rollout_of(0.0), rollout_of(0.0)),
    )
    # shares 1, 1/2, 0: mean 1/2, variance (1/4 + 0 + 1/4) / 2 = 1/4, error 1/2 / sqrt 3
    assert found.pass_at_1 == pytest.approx(0.5)
    assert found.pass_at_1_stderr == pytest.approx(0.5 / sqrt(3))
    assert found.pass_at_k == pytest.approx(2 / 3)
    assert (found.num_tasks, found.num_samples, found.step) == (3, 2, 4)


def test_of_a_single_task_there_is_no_error_to_estimate() -> None:
    assert evaluated(group_of(rollout_of(1.0), rollout_of(0.0))).pass_at_1_stderr == 0.0


def test_what_could_not_be_graded_counts_as_wrong() -> None:
    found = evaluated(group_of(rollout_of(None), rollout_of(1.0)))
    assert found.pass_at_1 == 0.5


def test_only_full_marks_of_the_named_reward_count() -> None:
    found = evaluated(
        group_of(
            rollout_of(1.5, accuracy=1.0, think_format=0.5),
            rollout_of(1.9, accuracy=0.9, think_format=1.0),
        ),
        format_by="think_format",
    )
    assert (found.pass_at_1, found.format_frac) == (0.5, 0.5)
    assert evaluated(group_of(rollout_of(1.0))).format_frac is None


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        (["5", "5", "6"], 1.0),
        (["6", "6", "5"], 0.0),
        (["5", "6"], 1.0),  # a tie: the first that was written
        (["6", "5"], 0.0),
        (["6", "5", "7", "5"], 1.0),
        (["", "", "5"], 1.0),  # no answer is no vote
        (["", ""], 0.0),
        ([" 5 ", "6", "5"], 0.0),  # " 5 " and "5" are one answer; the first one speaks for it
    ],
)
def test_the_majority_is_that_of_the_most_frequent_answer(texts: list[str], share: float) -> None:
    assert evaluated(answers(*texts)).majority_at_k == share


def test_lengths_and_truncation_are_over_all_completions() -> None:
    def written(num_tokens: int, finish_reason: FinishReason) -> Rollout:
        completion = completion_of(num_tokens=num_tokens, finish_reason=finish_reason)
        return dataclasses.replace(rollout_of(1.0), completion=completion)

    found = evaluated(
        group_of(written(3, FinishReason.STOP), written(16, FinishReason.LENGTH)),
        group_of(written(4, FinishReason.STOP), written(5, FinishReason.STOP)),
    )
    assert (found.length_mean, found.truncated_frac) == (7.0, 0.25)


def test_metrics_carry_the_area_and_not_the_step() -> None:
    metrics = evaluated(answers("5", "6")).metrics()
    assert metrics["eval/pass_at_1"] == 0.5
    assert all(name.startswith("eval/") for name in metrics)
    assert "eval/step" not in metrics
