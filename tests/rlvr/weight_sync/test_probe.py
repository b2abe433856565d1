"""The judgement over the probe text: what passes, and which engine is found out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rlvr.errors import CheckError
from rlvr.weight_sync.probe import ProbeCheck

TOKENS = 63
LEARNER = np.linspace(-3.0, -0.5, TOKENS, dtype=np.float32)
NOISE = np.where(np.arange(TOKENS) % 2, 0.01, -0.01).astype(np.float32)  # mean error 0.01


def moved(by: float) -> NDArray[np.float32]:
    """The learner after a change of this size at each token."""
    return (LEARNER + np.where(np.arange(TOKENS) % 3, by, -by)).astype(np.float32)


def relative() -> ProbeCheck:
    """A bfloat16 run after its first sync."""
    check = ProbeCheck(max_error=None)
    assert check(LEARNER, [LEARNER + NOISE, LEARNER]) == pytest.approx(0.01, rel=1e-4)
    return check


def test_an_absolute_limit_holds_for_the_largest_error_of_any_engine() -> None:
    check = ProbeCheck(max_error=1e-3)
    off = LEARNER.copy()
    off[5] += np.float32(2e-3)
    assert check(LEARNER, [LEARNER, LEARNER]) == 0.0
    with pytest.raises(CheckError, match=r"^engine 1 and the learner differ by 0\.002 nats on the"):
        check(LEARNER, [LEARNER, off])


def test_an_absolute_limit_does_not_become_wider_with_the_noise_of_the_first_sync() -> None:
    check = ProbeCheck(max_error=0.02)
    check(LEARNER, [LEARNER + NOISE])
    with pytest.raises(CheckError, match=r"limit 0\.02, checks\.max_probe_error"):
        check(moved(0.1), [moved(0.1) + 2.5 * NOISE])


@pytest.mark.parametrize("max_error", [None, 1e-3])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_log_prob_that_is_no_number_is_an_error(max_error: float | None, is_first: bool) -> None:
    check = ProbeCheck(max_error=max_error)
    if not is_first:
        check(LEARNER, [LEARNER])
    broken = LEARNER.copy()
    broken[0] = math.nan
    with pytest.raises(CheckError, match="differ by nan nats"):
        check(LEARNER, [broken])


def test_without_a_limit_the_first_sync_may_be_off_by_no_more_than_half_a_nat() -> None:
    off = LEARNER.copy()
    off[0] += np.float32(0.6)
    with pytest.raises(CheckError, match=r"differ by 0\.6 nats on the probe text \(limit 0\.5"):
        ProbeCheck(max_error=None)(LEARNER, [off])


def test_later_errors_of_the_size_of_the_first_pass_also_where_one_token_is_far_off() -> None:
    check = relative()
    for size in (0.001, 0.01, 0.1, 1.0):
        outlier = moved(size) - 2 * NOISE
        outlier[7] += np.float32(0.3)
        assert check(moved(size), [moved(size) + NOISE, outlier]) > 0.27


def test_an_engine_that_keeps_its_first_weights_is_found_once_the_learner_has_moved() -> None:
    # limit 3 * 0.01 + 0.1 * moved; the error of the stale engine is about `moved`, and the engine
    # is not bitwise where it was: its log-probs depend on the batch
    stale = LEARNER + NOISE + np.float32(1e-6)
    check = relative()
    check(moved(0.03), [stale, moved(0.03)])
    with pytest.raises(CheckError) as found:
        check(moved(0.04), [stale + np.float32(1e-6), moved(0.04)])
    assert str(found.value) == (
        "engine 0 and the learner differ by 0.04 nats on the probe text, in the mean (limit 0.034: "
        "the first sync left 0.01, and the learner has moved by 0.04 since; checks.max_probe_error "
        "sets another limit): they do not hold the same weights"
    )


def test_an_engine_that_keeps_later_weights_is_found_although_noise_may_grow() -> None:
    check = relative()
    check(moved(0.5), [moved(0.5) + NOISE, moved(0.5)])  # from here on it is allowed 0.08
    with pytest.raises(CheckError, match=r"engine 1 .* in the mean"):
        check(moved(0.7), [moved(0.7) + NOISE, moved(0.5) + NOISE])


@pytest.mark.parametrize("max_error", [None, 1e-3])
def test_an_engine_whose_log_probs_stay_to_the_bit_has_kept_its_weights(
    max_error: float | None,
) -> None:
    check = ProbeCheck(max_error=max_error)
    check(LEARNER, [LEARNER, LEARNER])
    step = moved(1e-5)  # far below each limit
    with pytest.raises(CheckError, match=r"engine 1 .* has kept its weights"):
        check(step, [step, LEARNER])


def test_a_sync_of_the_same_weights_may_leave_the_engine_as_it_is() -> None:
    check = relative()
    check(LEARNER, [LEARNER + NOISE, LEARNER])
    few = LEARNER.copy()
    few[: TOKENS // 2] += np.float32(1e-6)  # 31 of 63 tokens: no more than rounding
    check(few, [LEARNER + NOISE, LEARNER])


def test_an_engine_that_joins_later_is_held_to_the_same_limit() -> None:
    check = ProbeCheck(max_error=None)
    check(LEARNER, [LEARNER + NOISE])
    check(moved(0.02), [moved(0.02) + NOISE, moved(0.02) - NOISE])
    with pytest.raises(CheckError, match="engine 1"):
        check(moved(0.01), [moved(0.01) + NOISE, LEARNER - 4 * NOISE])
