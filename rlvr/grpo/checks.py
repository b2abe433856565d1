"""Self-checks of a run: each stops the run, with the reason, where it cannot be trusted.

before the first step    check_rewards (preflight): the rewards accept the gold answers
first step               check_first_step: ratios are 1
each step                check_graded, check_mismatch, SignalCheck
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rewards import RewardMix, RewardResult
from rlvr.config.sections import ChecksSection
from rlvr.data.prompts import GoldStyle, render_gold, render_program
from rlvr.data.tasks import TaskSource
from rlvr.errors import CheckError
from rlvr.grpo.advantages import has_signal
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.rollouts import Graders, PromptEncoder
from rlvr.types import Group, StepReport, Task, Ungraded

__all__ = [
    "PreflightReport",
    "SignalCheck",
    "check_first_step",
    "check_graded",
    "check_mismatch",
    "check_rewards",
]

logger = logging.getLogger(__name__)

ACCEPT_GOLD = ("accuracy", "countdown", "passes_tests", "think_format")  # give a gold 1
ENDLESS_TASKS = 256  # tasks of an endless source that the preflight checks
CHUNK = 512  # completions of one grading call
NAMED_TASKS = 20  # bad golds that the log names


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


def check_mismatch(report: StepReport, *, checks: ChecksSection, staleness: int) -> None:
    """Raise CheckError if learner and engine disagree on completions of the same weights.

    Completions of older weights differ by design and are not checked.
    """
    if staleness == 0 and not report.mismatch_kl <= checks.max_mismatch_kl:
        raise CheckError(
            f"mismatch_kl is {report.mismatch_kl:.3g} nats per token (limit "
            f"{checks.max_mismatch_kl:.3g}, checks.max_mismatch_kl): the engine's log-probs do not "
            "belong to the learner's weights"
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


class SignalCheck:
    """Stops a run whose groups have had no signal for many steps in a row."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._num_steps = 0

    def check(self, groups: Sequence[Group]) -> None:
        """Count a step without signal; a group with two different rewards resets the count."""
        if any(has_signal(group) for group in groups):
            self._num_steps = 0
            return
        self._num_steps += 1
        if self._num_steps >= self._max_steps:
            values = [r.reward.value for group in groups for r in group.graded]
            is_flat = len(set(values)) == 1
            spread = f"all rewards are {values[0]:g}" if is_flat else _by_group(groups)
            raise CheckError(
                f"no group had two different rewards for {self._num_steps} steps "
                f"(checks.max_no_signal_steps): {spread}; the tasks are too hard or too easy for "
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightReport:
    """Result of the preflight."""

    num_tasks: int
    bad_golds: tuple[str, ...]  # "gsm8k/17: accuracy 0 (reason)"

    def __str__(self) -> str:
        num_good = self.num_tasks - len(self.bad_golds)
        return f"preflight: {num_good} of {self.num_tasks} gold answers earn full reward"


async def check_rewards(
    config: GrpoConfig, source: TaskSource, mix: RewardMix, graders: Graders, encoder: PromptEncoder
) -> PreflightReport:
    """Grade the gold answers, and empty answers, of the first rows.

    Raises:
        CheckError: more golds than checks.max_bad_golds miss full reward, an empty answer earns a
            reward, or a value is not finite or outside the range that its reward declares.
    """
    limit = config.checks.preflight_tasks
    available = ENDLESS_TASKS if source.num_tasks is None else source.num_tasks
    tasks = [source.task(i) for i in range(min(limit, available))]
    style = GoldStyle(config.prompt.answer_style)
    golds = [_gold(task, think_prefilled=encoder.think_prefilled, style=style) for task in tasks]
    graded = await _grade(graders, encoder, golds, tasks)
    empty = await _grade(graders, encoder, [""] * len(tasks), tasks)
    _check_values(tasks, [*graded, *empty], mix.ranges)
    verifiers = [name for name in mix.names if name in ACCEPT_GOLD]
    with_gold = [i for i, gold in enumerate(golds) if gold and verifiers]
    bad = tuple(
        f"{tasks[i].id}: {', '.join(missed)}"
        for i in with_gold
        if (missed := _missed(graded[i], verifiers))
    )
    _check_golds(bad, num_golds=len(with_gold), max_bad=config.checks.max_bad_golds)
    paid = [
        t.id for t, r in zip(tasks, empty, strict=True) if any(r.values.get(v) for v in verifiers)
    ]
    if paid:
        raise CheckError(
            f"preflight: an empty answer earns a reward on {paid[0]} and {len(paid) - 1} more rows"
        )
    return PreflightReport(num_tasks=len(with_gold), bad_golds=bad)


def _gold(task: Task, *, think_prefilled: bool, style: GoldStyle) -> str:
    """Return a correct completion, or "" if the row has neither an answer nor a solution."""
    if "tests" in task.columns and task.columns.get("solution"):
        solution = str(task.columns["solution"])
        return render_program(solution, think_prefilled=think_prefilled, style=style)
    if "answer" not in task.columns:
        return ""
    return render_gold(str(task.columns["answer"]), think_prefilled=think_prefilled, style=style)


def _check_golds(bad: Sequence[str], *, num_golds: int, max_bad: int) -> None:
    for line in bad[:NAMED_TASKS]:
        logger.warning("preflight: the gold answer of %s", line)
    if len(bad) > max_bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise CheckError(
            f"preflight: {len(bad)} of {num_golds} gold answers, rendered through the template, "
            f"miss full reward (limit {max_bad}, checks.max_bad_golds): "
            f"{'; '.join(bad[:3])}{more}; correct the rows or the template "
            "(prompt.answer_style, rewards), or raise the limit"
        )


async def _grade(
    graders: Graders, encoder: PromptEncoder, texts: Sequence[str], tasks: Sequence[Task]
) -> list[RewardResult]:
    results: list[RewardResult] = []
    for first in range(0, len(tasks), CHUNK):
        chunk = slice(first, first + CHUNK)
        ungraded = Ungraded(
            texts=texts[chunk],
            columns=[task.columns for task in tasks[chunk]],
            think_prefilled=encoder.think_prefilled,
            prompts=[encoder.text(task) for task in tasks[chunk]],
            completion_ids=[encoder.completion_ids(text) for text in texts[chunk]],
        )
        results += await graders.grade(ungraded)
    return results


def _missed(result: RewardResult, verifiers: Sequence[str]) -> list[str]:
    return [
        f"{name} {result.values[name]} ({result.reasons.get(name, '')})"
        for name in verifiers
        if result.values.get(name, 1.0) != 1.0  # a reward that does not apply to the row is missing
    ]


def _check_values(
    tasks: Sequence[Task],
    results: Sequence[RewardResult],
    ranges: Mapping[str, tuple[float, float] | None],
) -> None:
    for i, result in enumerate(results):
        for name, value in result.values.items():
            if wrong := _wrong(value, ranges.get(name)):
                task = tasks[i % len(tasks)]
                raise CheckError(f"preflight: reward {name} is {value} on {task.id}, {wrong}")


def _wrong(value: float | None, value_range: tuple[float, float] | None) -> str:
    """Return the fault of a value, or ""."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "not finite"
    low, high = value_range or (value, value)
    return "" if low <= value <= high else f"not in its range {low:g} to {high:g}"
