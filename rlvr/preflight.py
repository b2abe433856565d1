"""Before the first step: do the rewards, given right answers, say so?

rows --gold rendered through the template--> rewards    full marks for what verifies an answer
rows --empty answer------------------------> rewards    none
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rewards import RewardMix, RewardResult
from rlvr.config import GrpoConfig
from rlvr.errors import GateError
from rlvr.harvest import Graders, PromptEncoder
from rlvr.prompts import GoldStyle, render_gold, render_program
from rlvr.tasks import TaskSource
from rlvr.types import Task, Ungraded

__all__ = ["PreflightReport", "check_rewards"]

logger = logging.getLogger(__name__)

VERIFIERS = (
    "accuracy",
    "countdown",
    "passes_tests",
    "think_format",
)  # a right answer earns full marks from these
ENDLESS_TASKS = 256
CHUNK = 512
NAMED_TASKS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightReport:
    """What the preflight looked at."""

    num_tasks: int
    bad_golds: tuple[str, ...]  # "gsm8k/17: accuracy 0 (reason)"

    def __str__(self) -> str:
        num_good = self.num_tasks - len(self.bad_golds)
        return f"preflight: {num_good} of {self.num_tasks} gold answers earn full reward"


class TextEncoder(PromptEncoder, Protocol):
    """Encodes what was not written by an engine, too."""

    def completion_ids(self, text: str) -> NDArray[np.int32]:
        """[T] token ids."""
        ...


async def check_rewards(
    config: GrpoConfig, source: TaskSource, mix: RewardMix, graders: Graders, encoder: TextEncoder
) -> PreflightReport:
    """Grade the golds and empty answers of the first rows.

    Raises:
        GateError: more golds than gates.max_bad_golds miss full reward, an empty answer earns the
            accuracy reward, or a value is not finite or not in the range its reward declares.
    """
    limit = config.gates.preflight_tasks
    available = ENDLESS_TASKS if source.num_tasks is None else source.num_tasks
    tasks = [source.task(i) for i in range(min(limit, available))]
    style = GoldStyle(config.prompt.answer_style)
    golds = [_gold(task, thought_open=encoder.thought_open, style=style) for task in tasks]
    graded = await _grade(graders, encoder, golds, tasks)
    empty = await _grade(graders, encoder, [""] * len(tasks), tasks)
    _check_values(tasks, [*graded, *empty], mix.ranges)
    verifiers = [name for name in mix.names if name in VERIFIERS]
    with_gold = [i for i, gold in enumerate(golds) if gold and verifiers]
    bad = tuple(
        f"{tasks[i].id}: {', '.join(missed)}"
        for i in with_gold
        if (missed := _missed(graded[i], verifiers))
    )
    _check_golds(bad, num_golds=len(with_gold), max_bad=config.gates.max_bad_golds)
    paid = [
        t.id for t, r in zip(tasks, empty, strict=True) if any(r.parts.get(v) for v in verifiers)
    ]
    if paid:
        raise GateError(
            f"preflight: an empty answer earns a reward on {paid[0]} and {len(paid) - 1} more rows"
        )
    return PreflightReport(num_tasks=len(with_gold), bad_golds=bad)


def _gold(task: Task, *, thought_open: bool, style: GoldStyle) -> str:
    """A right completion; empty where the row has neither an answer nor a solution to its tests."""
    if "tests" in task.columns and task.columns.get("solution"):
        solution = str(task.columns["solution"])
        return render_program(solution, thought_open=thought_open, style=style)
    if "answer" not in task.columns:
        return ""
    return render_gold(str(task.columns["answer"]), thought_open=thought_open, style=style)


def _check_golds(bad: Sequence[str], *, num_golds: int, max_bad: int) -> None:
    for line in bad[:NAMED_TASKS]:
        logger.warning("preflight: the gold answer of %s", line)
    if len(bad) > max_bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise GateError(
            f"preflight: {len(bad)} of {num_golds} gold answers, rendered through the template, "
            f"miss full reward (limit {max_bad}, gates.max_bad_golds): {'; '.join(bad[:3])}{more}; "
            "mend the rows, the template (prompt.answer_style, rewards) or raise the limit"
        )


async def _grade(
    graders: Graders, encoder: TextEncoder, texts: Sequence[str], tasks: Sequence[Task]
) -> list[RewardResult]:
    results: list[RewardResult] = []
    for first in range(0, len(tasks), CHUNK):
        chunk = slice(first, first + CHUNK)
        ungraded = Ungraded(
            texts=texts[chunk],
            columns=[task.columns for task in tasks[chunk]],
            thought_open=encoder.thought_open,
            prompts=[encoder.text(task) for task in tasks[chunk]],
            completion_ids=[encoder.completion_ids(text) for text in texts[chunk]],
        )
        results += await graders.grade(ungraded)
    return results


def _missed(result: RewardResult, verifiers: Sequence[str]) -> list[str]:
    return [
        f"{name} {result.parts[name]} ({result.reasons.get(name, '')})"
        for name in verifiers
        if result.parts.get(name, 1.0) != 1.0  # a reward that is not for the row is not there
    ]


def _check_values(
    tasks: Sequence[Task],
    results: Sequence[RewardResult],
    ranges: Mapping[str, tuple[float, float] | None],
) -> None:
    for i, result in enumerate(results):
        for name, value in result.parts.items():
            if wrong := _wrong(value, ranges.get(name)):
                task = tasks[i % len(tasks)]
                raise GateError(f"preflight: reward {name} is {value} on {task.id}, {wrong}")


def _wrong(value: float | None, value_range: tuple[float, float] | None) -> str:
    """What is wrong with a value; empty where nothing is."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "not finite"
    low, high = value_range or (value, value)
    return "" if low <= value <= high else f"not in its range {low:g} to {high:g}"
