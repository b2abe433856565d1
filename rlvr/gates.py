"""Self-checks of a run: each looks at one thing and stops the run where that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlvr.advantages import has_signal
from rlvr.config import GatesSection
from rlvr.errors import GateError
from rlvr.types import Group, StepReport

__all__ = ["SignalGate", "check_first_step", "check_graded", "check_mismatch"]


def check_graded(groups: Sequence[Group], *, limit_frac: float) -> None:
    """Stop where too many completions could not be graded; says the reason that came most often."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    ungraded = [rollout.reward for rollout in rollouts if rollout.reward.value is None]
    frac = len(ungraded) / len(rollouts)
    if frac > limit_frac:
        reasons = [
            f"{name}: {reward.reasons.get(name) or 'no reason given'}"
            for reward in ungraded
            for name, value in reward.parts.items()
            if value is None
        ]
        raise GateError(
            f"{frac:.0%} of the completions could not be graded (limit {limit_frac:.0%}, "
            f"gates.max_ungraded_frac); most often {_most_common(reasons)}"
        )


def check_mismatch(report: StepReport, *, gates: GatesSection, staleness: int) -> None:
    """Stop where learner and engine disagree about completions of the learner's own weights.

    Completions of older weights differ by what was learned since, so they prove nothing.
    """
    if staleness == 0 and not report.mismatch_kl <= gates.max_mismatch_kl:
        raise GateError(
            f"mismatch_kl is {report.mismatch_kl:.3g} nats a token (limit "
            f"{gates.max_mismatch_kl:.3g}, gates.max_mismatch_kl): the engine's log-probs are not "
            "those of the learner's weights"
        )


def check_first_step(
    report: StepReport, *, max_ratio_error: float, is_reference_fresh: bool
) -> None:
    """Before anything is learned the policy is the engine's policy and the reference."""
    if not report.max_ratio_error <= max_ratio_error:
        raise GateError(
            f"first step: a ratio of learner to engine is off 1 by {report.max_ratio_error:.3g} "
            f"(limit {max_ratio_error:.3g}, gates.max_first_ratio_error): the mask, the "
            "temperature or the weights differ"
        )
    if is_reference_fresh and not report.kl <= 1e-4:
        raise GateError(
            f"first step: KL to the reference is {report.kl:.3g} nats a token where policy and "
            "reference are the same model: they were not loaded alike"
        )


class SignalGate:
    """Stops a run whose groups have had nothing to learn from for many steps in a row."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._num_steps = 0

    def check(self, groups: Sequence[Group]) -> None:
        """Count a step; a single group with two different rewards starts the count anew."""
        if any(has_signal(group) for group in groups):
            self._num_steps = 0
            return
        self._num_steps += 1
        if self._num_steps >= self._max_steps:
            values = [
                r.reward.value
                for group in groups
                for r in group.graded
                if r.reward.value is not None
            ]
            spread = (
                f"all rewards are {values[0]:g}" if len(set(values)) == 1 else _by_group(groups)
            )
            raise GateError(
                f"no group had two different rewards for {self._num_steps} steps "
                f"(gates.max_no_signal_steps): {spread}; the tasks are too hard or too easy for "
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
