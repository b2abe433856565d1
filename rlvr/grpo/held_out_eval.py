"""Metrics of an evaluation: pass@1 with its standard error, pass@k, majority vote."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np

from rewards.math.extract import StatedAnswer, read_answer
from rewards.transcript import as_turn
from rlvr.types import FinishReason, Group, Rollout

__all__ = ["Evaluation", "pass_at_k", "reported_ks", "standard_error", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Results on held-out tasks; fractions are of completions unless noted otherwise."""

    step: int  # policy version
    pass_at_1: float  # mean over tasks of the fraction of correct completions
    pass_at_1_stderr: float  # over tasks: completions of one task are not independent
    pass_at: Mapping[int, float]  # k -> pass@k, for the powers of two above 1 and num_samples
    pass_at_k: float  # fraction of tasks with a correct one among num_samples
    majority_at_k: float  # fraction of tasks whose most frequent answer is correct
    format_frac: float | None  # None: the run has no format reward
    format_stderr: float | None
    truncated_frac: float
    length_mean: float  # tokens
    num_tasks: int
    num_samples: int  # k, of each task

    def metrics(self) -> dict[str, Any]:
        """Return the metrics as eval/NAME; `pass_at` becomes eval/pass_at_2, eval/pass_at_4, ..."""
        values = {k: v for k, v in asdict(self).items() if k not in ("step", "pass_at")}
        values |= {f"pass_at_{k}": value for k, value in self.pass_at.items()}
        return {f"eval/{name}": value for name, value in values.items()}


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Return the unbiased estimate of pass@k (Chen et al., arXiv 2107.03374, eq. 1).

    1 - C(n - c, k) / C(n, k) for c correct completions among n.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(
            f"k is {k}, with {num_samples} completions it must be from 1 to {num_samples}"
        )
    return 1.0 - comb(num_samples - num_right, k) / comb(num_samples, k)


def reported_ks(num_samples: int) -> list[int]:
    """Return 2, 4, 8, ... below `num_samples`, and `num_samples`."""
    powers = (1 << i for i in range(1, num_samples.bit_length()))
    return sorted({*powers, num_samples} - {1})


def summarize(
    groups: Sequence[Group],
    *,
    step: int,
    correct_by: str,
    format_by: str | None,
    think_prefilled: bool,
) -> Evaluation:
    """Count a completion as correct if the reward named `correct_by` is 1.

    A completion that could not be graded counts as wrong.
    """
    right = np.array(
        [[_has_full(r, correct_by) for r in group.rollouts] for group in groups], dtype=float
    )
    by_task = right.mean(axis=1)
    num_samples = right.shape[1]
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    is_formed = (
        np.array(
            [[_has_full(r, format_by) for r in group.rollouts] for group in groups], dtype=float
        )
        if format_by
        else None
    )
    return Evaluation(
        step=step,
        pass_at_1=float(by_task.mean()),
        pass_at_1_stderr=standard_error(by_task),
        pass_at={k: _mean_pass_at(right, k) for k in reported_ks(num_samples)},
        pass_at_k=_mean_pass_at(right, num_samples),
        majority_at_k=float(
            np.mean([_majority_is_right(g, correct_by, think_prefilled) for g in groups])
        ),
        format_frac=None if is_formed is None else float(is_formed.mean()),
        format_stderr=None if is_formed is None else standard_error(is_formed.mean(axis=1)),
        truncated_frac=float(
            np.mean([r.completion.finish_reason is FinishReason.LENGTH for r in rollouts])
        ),
        length_mean=float(np.mean([len(r.completion.token_ids) for r in rollouts])),
        num_tasks=len(groups),
        num_samples=num_samples,
    )


def _has_full(rollout: Rollout, reward_name: str) -> bool:
    return rollout.reward.values.get(reward_name) == 1.0


def _mean_pass_at(right: np.ndarray[Any, np.dtype[np.float64]], k: int) -> float:
    """Average over tasks; `right` is [num_tasks, num_samples]."""
    num_samples = right.shape[1]
    return float(np.mean([pass_at_k(num_samples, int(c), k) for c in right.sum(axis=1)]))


def standard_error(by_task: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return the standard error of the mean over tasks; 0 for a single task."""
    return float(by_task.std(ddof=1) / math.sqrt(len(by_task))) if len(by_task) > 1 else 0.0


def _majority_is_right(group: Group, correct_by: str, think_prefilled: bool) -> bool:
    """Whether the most frequent answer is correct; ties go to the first. No answer is no vote."""
    votes: dict[str, list[Rollout]] = {}
    for rollout in group.rollouts:
        answer = read_answer(as_turn(rollout.completion.text), think_prefilled)
        if isinstance(answer, StatedAnswer):
            votes.setdefault(answer.text.strip(), []).append(rollout)
    if not votes:
        return False
    return _has_full(max(votes.values(), key=len)[0], correct_by)
