"""Self-checks of a run: each stops the run, with the reason, where it cannot be trusted.

first step    check_first_step: ratios are 1
each step     MismatchCheck
each batch    check_graded, SignalCheck

What can be known before a run is checked by its preflight (rlvr.grpo.preflight).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlvr.errors import CheckError
from rlvr.grpo.advantages import has_signal
from rlvr.types import Group, StepReport

__all__ = [
    "MismatchCheck",
    "SignalCheck",
    "check_first_step",
    "check_graded",
]


def check_graded(groups: Sequence[Group], *, limit_frac: float) -> None:
    """Raise CheckError if too many completions could not be graded; name the most common reason."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    ungraded = [rollout.reward for rollout in rollouts if rollout.reward.value is None]
    frac = len(ungraded) / len(rollouts)
    if frac > limit_frac:
        reasons = [
            f"{name}: {reward.reasons.get(name) or 'no reason given'}"
            for reward in ungraded
            for name, value in reward.values.items()
            if value is None
        ]
        raise CheckError(
            f"{frac:.0%} of the completions could not be graded (limit {limit_frac:.0%}, "
            f"checks.max_ungraded_frac); most often {_most_common(reasons)}"
        )


def check_first_step(
    report: StepReport, *, max_ratio_error: float, is_reference_fresh: bool
) -> None:
    """Raise CheckError unless policy, engine and reference agree before anything is learned."""
    if not report.max_ratio_error <= max_ratio_error:
        raise CheckError(
            "first step: a ratio of learner to engine differs from 1 by "
            f"{report.max_ratio_error:.3g} (limit {max_ratio_error:.3g}, "
            "checks.max_first_ratio_error): the mask, the temperature or the weights differ"
        )
    if is_reference_fresh and not report.kl <= 1e-4:
        raise CheckError(
            f"first step: KL to the reference is {report.kl:.3g} nats per token although policy "
            "and reference are the same model: they were loaded differently"
        )


class MismatchCheck:
    """Warns once, and stops the run, where learner and engine disagree at the same weights.

    Both limits apply to the 99th percentile of |log ratio| over a step's tokens. One token in a
    hundred or more does not move it; a wrong temperature or shifted tokens move most of them.
    """

    def __init__(self, *, warn: float, stop: float) -> None:
        self._warn = warn
        self._stop = stop
        self._is_warned = False

    def check(self, report: StepReport, *, staleness: int) -> str | None:
        """Return a warning, at most once in a run.

        Completions of older weights differ by design and are not checked. Raises CheckError: the
        mismatch is over the second limit.
        """
        if staleness > 0:
            return None
        found = (
            f"mismatch of learner and engine: the 99th percentile of |log ratio| is "
            f"{report.mismatch_p99:.3g} nats (median {report.mismatch_median:.3g}; limit"
        )
        if not report.mismatch_p99 <= self._stop:
            raise CheckError(
                f"{found} {self._stop:.3g}, checks.max_mismatch): the engine's log-probs do not "
                "belong to the learner's weights"
            )
        if self._is_warned or report.mismatch_p99 <= self._warn:
            return None
        self._is_warned = True
        return f"{found} {self._warn:.3g}, checks.warn_mismatch)"


class SignalCheck:
    """Stops a run whose groups have had no signal for many rollout batches in a row."""

    def __init__(self, max_batches: int) -> None:
        self._max_batches = max_batches
        self._num_batches = 0

    def check(self, groups: Sequence[Group]) -> None:
        """Count a batch without signal; a group with two different rewards resets the count."""
        if any(has_signal(group) for group in groups):
            self._num_batches = 0
            return
        self._num_batches += 1
        if self._num_batches >= self._max_batches:
            values = [r.reward.value for group in groups for r in group.graded]
            is_flat = len(set(values)) == 1
            spread = f"all rewards are {values[0]:g}" if is_flat else _by_group(groups)
            raise CheckError(
                f"no group had two different rewards for {self._num_batches} rollout batches "
                f"(checks.max_no_signal_batches): {spread}; the tasks are too hard or too easy for "
                "this model, or a reward is broken"
            )


def _by_group(groups: Sequence[Group]) -> str:
    values = sorted(group.graded[0].reward.value or 0.0 for group in groups if group.graded)
    if not values:
        return "nothing could be graded"
    span = f"from {values[0]:g} to {values[-1]:g}"
    return f"{len(values)} groups, each with one reward throughout, {span}"


def _most_common(reasons: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return max(counts, key=lambda reason: counts[reason]) if counts else "no part was None"
