"""Each check where the fault is there, and where it is not."""

from __future__ import annotations

import math

import pytest
from fakes import group_of, report_of, rollout_of

from rewards import Grade, Outcome, RewardResult
from rlvr.config.training_sections import ChecksSection
from rlvr.errors import CheckError
from rlvr.grpo.checks import MismatchCheck, SignalCheck, check_first_step, check_graded
from rlvr.types import Group, Rollout


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


MISMATCH = "mismatch of learner and engine: the 99th percentile of |log ratio| is"


def mismatch() -> MismatchCheck:
    return MismatchCheck(warn=0.001, stop=0.01)


@pytest.mark.parametrize("p99", [0.011, math.nan, math.inf])
def test_a_mismatch_of_engine_and_learner_stops_the_run(p99: float) -> None:
    with pytest.raises(CheckError) as stopped:
        mismatch().check(report_of(mismatch_p99=p99, mismatch_median=0.002), staleness=0)
    assert str(stopped.value) == (
        f"{MISMATCH} {p99:.3g} nats (median 0.002; limit 0.01, checks.max_mismatch): the engine's "
        "log-probs do not belong to the learner's weights"
    )


def test_a_mismatch_between_the_limits_warns_once() -> None:
    check = mismatch()
    assert check.check(report_of(mismatch_p99=0.001), staleness=0) is None
    assert check.check(report_of(mismatch_p99=0.01, mismatch_median=0.002), staleness=0) == (
        f"{MISMATCH} 0.01 nats (median 0.002; limit 0.001, checks.warn_mismatch)"
    )
    assert check.check(report_of(mismatch_p99=0.009), staleness=0) is None
    with pytest.raises(CheckError, match=r"checks\.max_mismatch"):
        check.check(report_of(mismatch_p99=0.02), staleness=0)


def test_completions_of_older_weights_and_single_tokens_do_not_count_as_mismatch() -> None:
    assert mismatch().check(report_of(mismatch_p99=5.0), staleness=1) is None
    one_token = report_of(mismatch_kl=3.0, max_ratio_error=2980.0)
    assert mismatch().check(one_token, staleness=0) is None


def test_a_warning_limit_above_the_other_changes_nothing_about_it() -> None:
    with pytest.raises(CheckError, match=r"limit 0\.01"):
        MismatchCheck(warn=1.0, stop=0.01).check(report_of(mismatch_p99=0.02), staleness=0)


def test_limits_of_the_mismatch_depend_on_the_type_unless_they_are_given() -> None:
    assert ChecksSection().mismatch_limits("float32") == (0.001, 0.01)
    assert ChecksSection().mismatch_limits("bfloat16") == (0.2, 0.5)
    given = ChecksSection(warn_mismatch=0.1, max_mismatch=0.3)
    assert given.mismatch_limits("float32") == given.mismatch_limits("bfloat16") == (0.1, 0.3)


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


def test_rollout_batches_without_signal_are_counted_in_a_row() -> None:
    signal = SignalCheck(3)
    for groups in (flat(0.0), flat(0.0, 1.0), MIXED, flat(0.0), flat(None), MIXED + flat(1.0)):
        signal.check(groups)
    signal.check(flat(0.0))
    signal.check(flat(0.0))
    with pytest.raises(CheckError, match="no group had two different rewards for 3 rollout"):
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
