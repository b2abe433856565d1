"""Each check where the fault is there, and where it is not."""

from __future__ import annotations

import math

import pytest
from fakes import group_of, report_of, rollout_of

from rewards import Grade, Outcome, RewardResult
from rlvr.config.training_sections import ChecksSection
from rlvr.errors import CheckError
from rlvr.grpo.checks import SignalCheck, check_first_step, check_graded, check_mismatch
from rlvr.types import Group, Rollout

CHECKS = ChecksSection(max_mismatch_kl=0.01)


def ungraded(reason: str) -> Rollout:
    grade = Grade(value=None, outcome=Outcome.ERROR, reason=reason)
    reward = RewardResult(value=None, grades={"accuracy": grade})
    return Rollout(completion=rollout_of(0.0).completion, reward=reward)


def flat(*values: float | None) -> list[Group]:
    """For each value a group in which it is everyone's reward."""
    return [group_of(rollout_of(value), rollout_of(value)) for value in values]


MIXED = [group_of(rollout_of(1.0), rollout_of(0.0))]


def test_as_many_ungraded_completions_as_allowed_pass() -> None:
    check_graded([group_of(ungraded("a"), *[rollout_of(1.0)] * 4)], limit_frac=0.2)


def test_too_many_ungraded_completions_are_named_with_the_most_frequent_reason() -> None:
    groups = [group_of(ungraded("timeout"), rollout_of(1.0)), group_of(ungraded("no sympy"))]
    groups.append(group_of(ungraded("no sympy")))
    with pytest.raises(CheckError) as stopped:
        check_graded(groups, limit_frac=0.2)
    assert str(stopped.value) == (
        "75% of the completions could not be graded (limit 20%, checks.max_ungraded_frac); "
        "most often accuracy: no sympy"
    )


def test_a_limit_of_zero_allows_none_and_all_graded_is_fine() -> None:
    check_graded(MIXED, limit_frac=0.0)
    with pytest.raises(CheckError, match="no reason given"):
        check_graded([group_of(ungraded(""), *[rollout_of(1.0)] * 99)], limit_frac=0.0)


@pytest.mark.parametrize("mismatch_kl", [0.011, math.nan, math.inf])
def test_a_mismatch_of_engine_and_learner_stops_the_run(mismatch_kl: float) -> None:
    with pytest.raises(CheckError, match=r"checks\.max_mismatch_kl"):
        check_mismatch(report_of(mismatch_kl=mismatch_kl), checks=CHECKS, staleness=0)


def test_a_small_mismatch_passes_and_so_does_one_of_older_weights() -> None:
    check_mismatch(report_of(mismatch_kl=0.01), checks=CHECKS, staleness=0)
    check_mismatch(report_of(mismatch_kl=5.0), checks=CHECKS, staleness=1)


@pytest.mark.parametrize("error", [0.0101, math.nan])
def test_a_first_ratio_that_is_not_1_stops_the_run(error: float) -> None:
    report = report_of(max_ratio_error=error)
    with pytest.raises(CheckError, match="first step: a ratio of learner to engine"):
        check_first_step(report, max_ratio_error=0.01, is_reference_fresh=False)


@pytest.mark.parametrize("kl", [1.1e-4, math.nan])
def test_a_reference_that_differs_at_the_start_stops_the_run(kl: float) -> None:
    with pytest.raises(CheckError, match="first step: KL to the reference"):
        check_first_step(report_of(kl=kl), max_ratio_error=0.01, is_reference_fresh=True)


def test_a_first_step_as_it_should_be_passes() -> None:
    check_first_step(report_of(kl=1e-5), max_ratio_error=0.01, is_reference_fresh=True)
    check_first_step(report_of(kl=2.0), max_ratio_error=0.01, is_reference_fresh=False)
    check_first_step(report_of(max_ratio_error=9), max_ratio_error=9.0, is_reference_fresh=False)


def test_steps_without_signal_are_counted_in_a_row() -> None:
    signal = SignalCheck(3)
    for groups in (flat(0.0), flat(0.0, 1.0), MIXED, flat(0.0), flat(None), MIXED + flat(1.0)):
        signal.check(groups)
    signal.check(flat(0.0))
    signal.check(flat(0.0))
    with pytest.raises(CheckError, match="no group had two different rewards for 3 steps"):
        signal.check(flat(0.0))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (flat(0.0, 0.0), "all rewards are 0;"),
        (flat(1.2, 1.2), r"all rewards are 1\.2;"),
        (flat(0.0, 1.0, 0.5), "3 groups, each with one reward throughout, from 0 to 1;"),
        (flat(None, None), "nothing could be graded;"),
    ],
)
def test_the_signal_gate_says_what_the_rewards_were(groups: list[Group], said: str) -> None:
    with pytest.raises(CheckError, match=said):
        SignalCheck(1).check(groups)
