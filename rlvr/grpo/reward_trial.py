"""Try the rewards before a run: each on three completions, then the golds of the rows.

trial   a row's gold, a sentence without an answer, and nothing: a function that raises, or does
        not return one finite number or None for each, stops the run
golds   the golds of as many rows as `checks.preflight_s` allows must earn the full value of
        each verifier, and empty completions must earn nothing
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rewards import RewardMix, RewardResult
from rewards.base import Outcome
from rlvr.config.training_sections import ChecksSection
from rlvr.data.prompts import GoldStyle, TemplateEncoder, render_gold, render_program
from rlvr.data.tasks import TaskSource, place_of
from rlvr.errors import ConfigError
from rlvr.grpo.reward_process import RewardFailed, RewardProcess
from rlvr.types import Task, Ungraded

__all__ = ["GoldReport", "RewardTrial"]

logger = logging.getLogger(__name__)

ACCEPT_GOLD = ("accuracy", "countdown", "passes_tests", "think_format")  # give a gold 1
ENDLESS_TASKS = 256  # tasks of an endless source
FIRST_CHUNK, MAX_CHUNK = 16, 512  # rows of a grading call
CALL_S = 30.0  # for a call; a slower reward is left to the run
FAST_S = 0.5  # rewards that grade three completions in less also grade the golds
NO_ANSWER = "I am not sure about this one."
UNREAD = (Outcome.NO_ANSWER, Outcome.TRUNCATED)  # outcomes that need no grader

Row = tuple[str, int]  # section of the recipe, index of the task


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldReport:
    """The golds that were graded."""

    num_tasks: int  # graded, with a gold
    num_left: int  # rows that were not graded in time
    bad_golds: tuple[str, ...]  # "train.jsonl:17: accuracy 0.0 (reason)"

    def __str__(self) -> str:
        num_good = self.num_tasks - len(self.bad_golds)
        left = f"; {self.num_left:,} rows not graded (checks.preflight_s)" if self.num_left else ""
        return f"preflight: {num_good} of {self.num_tasks} gold answers earn full reward{left}"


@dataclass(slots=True, kw_only=True)
class RewardTrial:
    """The rewards of a recipe, the process that runs them, and the rows to try them on."""

    process: RewardProcess
    mix: RewardMix
    encoder: TemplateEncoder
    sources: Mapping[str, TaskSource]  # section of the recipe -> its tasks
    style: GoldStyle

    def try_each(self) -> list[str]:
        """Grade three completions by each reward; return those that are fast.

        Raises ConfigError: a reward is broken; with its name, file and line.
        """
        fast = []
        for name in self.mix.tried:
            tasks = self._three_tasks(name)
            if not tasks:
                logger.warning("rewards.%s.only: fits no task that was looked at", name)
                continue
            texts = [self._gold(tasks[0]) or NO_ANSWER, NO_ANSWER, ""]
            started = time.monotonic()
            try:
                self._grade([name], tasks, texts)
            except TimeoutError:
                logger.warning("rewards.%s: no result within %g s, so not tried", name, CALL_S)
                continue
            if time.monotonic() - started < FAST_S:
                fast.append(name)
        return fast

    def grade_golds(self, checks: ChecksSection, *, fast: Sequence[str], seed: int) -> GoldReport:
        """Grade golds and empty completions of a random choice of rows.

        Raises ConfigError: more golds than checks.max_bad_golds miss full reward, an empty answer
        earns a reward, or a value is outside the range that its reward declares.
        """
        rows = list(self._rows())
        random.Random(seed).shuffle(rows)
        rows = rows[: checks.preflight_tasks]
        names = [name for name in self.mix.names if name in ACCEPT_GOLD or name in fast]
        bad: dict[Row, str] = {}
        num_golds = num_done = 0
        for chunk in _chunks(rows if names else [], seconds=checks.preflight_s):
            try:
                num_golds += self._grade_chunk(chunk, names, bad)
            except TimeoutError:
                break
            num_done += len(chunk)
        report = GoldReport(
            num_tasks=num_golds,
            num_left=len(rows) - num_done if names else 0,
            bad_golds=tuple(bad[row] for row in sorted(bad)),
        )
        _check_golds(report, max_bad=checks.max_bad_golds)
        return report

    def _grade_chunk(self, rows: Sequence[Row], names: Sequence[str], bad: dict[Row, str]) -> int:
        """Add the bad golds of these rows to `bad`; return how many rows have a gold."""
        tasks = {row: self.sources[row[0]].task(row[1]) for row in rows}
        tasks = {row: task for row, task in tasks.items() if self._applies(names, task)}
        if not tasks:
            return 0
        verifiers = [name for name in names if name in ACCEPT_GOLD]
        golds = [self._gold(task) for task in tasks.values()]
        graded = self._grade(names, list(tasks.values()), golds)
        empty = self._grade(names, list(tasks.values()), [""] * len(tasks))
        for (row, task), gold, result, nothing in zip(
            tasks.items(), golds, graded, empty, strict=True
        ):
            place = place_of(task, self.sources[row[0]])
            if any(nothing.values.get(name) for name in verifiers):
                raise ConfigError(f"preflight: an empty answer earns a reward on {place}")
            if gold and (missed := _missed(result, verifiers)):
                bad[row] = f"{place}: {', '.join(missed)}"
        return sum(bool(gold and verifiers) for gold in golds)

    def _grade(
        self, names: Sequence[str], tasks: Sequence[Task], texts: Sequence[str]
    ) -> list[RewardResult]:
        wants, encoder = self.mix.wants, self.encoder
        ungraded = Ungraded(
            texts=texts,
            columns=[task.columns for task in tasks],
            think_prefilled=encoder.think_prefilled,
            prompts=[encoder.text(task) for task in tasks] if "prompts" in wants else None,
            completion_ids=[encoder.completion_ids(text) for text in texts]
            if "completion_ids" in wants
            else None,
        )
        try:
            results = self.process.grade(names, ungraded, deadline_s=CALL_S)
        except RewardFailed as error:
            raise ConfigError(f"rewards: {error}; its output: {self.process.log}") from None
        for name in names:
            self._check_grades(name, tasks, results)
        return results

    def _check_grades(
        self, name: str, tasks: Sequence[Task], results: Sequence[RewardResult]
    ) -> None:
        """Raise ConfigError for a value outside the declared range, or a grader that is broken."""
        low, high = self.mix.ranges[name] or (-math.inf, math.inf)
        outcomes: dict[Outcome, str] = {}  # -> the last reason
        for task, result in zip(tasks, results, strict=True):
            if (grade := result.grades.get(name)) is None:
                continue
            if grade.value is not None and not low <= grade.value <= high:
                raise ConfigError(
                    f"rewards: reward {name!r} gave {grade.value:g} to a completion of task "
                    f"{task.id}, which is not in its range {low:g} to {high:g}"
                )
            outcomes[grade.outcome] = grade.reason
        if Outcome.ERROR in outcomes and outcomes.keys() <= {Outcome.ERROR, *UNREAD}:
            raise ConfigError(f"rewards: reward {name!r} cannot grade: {outcomes[Outcome.ERROR]}")

    def _applies(self, names: Sequence[str], task: Task) -> bool:
        return any(self.mix.applies(name, task.columns) for name in names)

    def _three_tasks(self, name: str) -> list[Task]:
        """Return tasks that a reward is for; one is repeated where there are fewer than three."""
        tasks = (self.sources[section].task(index) for section, index in self._rows())
        found = list(itertools.islice((t for t in tasks if self._applies([name], t)), 3))
        return list(itertools.islice(itertools.cycle(found), 3))

    def _rows(self) -> Iterator[Row]:
        for section, source in self.sources.items():
            num_tasks = ENDLESS_TASKS if source.num_tasks is None else source.num_tasks
            yield from ((section, index) for index in range(num_tasks))

    def _gold(self, task: Task) -> str:
        """Return a correct completion, or "" if the row has neither an answer nor a solution."""
        is_open = self.encoder.think_prefilled
        if task.columns.get("tests") is not None and task.columns.get("solution"):
            solution = str(task.columns["solution"])
            return render_program(solution, think_prefilled=is_open, style=self.style)
        if task.columns.get("answer") is None:
            return ""
        answer = str(task.columns["answer"])
        return render_gold(answer, think_prefilled=is_open, style=self.style)


def _chunks(rows: Sequence[Row], *, seconds: float) -> Iterator[Sequence[Row]]:
    """Yield the rows in chunks, as many as can be graded in this time at the speed so far."""
    started, num_done, size = time.monotonic(), 0, FIRST_CHUNK
    while num_done < len(rows) and size:
        yield rows[num_done : num_done + size]
        num_done += size
        spent = time.monotonic() - started
        size = min(MAX_CHUNK, int(num_done / spent * (seconds - spent))) if spent < seconds else 0


def _missed(result: RewardResult, verifiers: Sequence[str]) -> list[str]:
    return [
        f"{name} {result.values[name]} ({result.reasons.get(name, '')})"
        for name in verifiers
        if result.values.get(name, 1.0) != 1.0  # a reward that does not apply to the row is missing
    ]


def _check_golds(report: GoldReport, *, max_bad: int) -> None:
    bad = report.bad_golds
    if len(bad) > max_bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise ConfigError(
            f"preflight: {len(bad)} of {report.num_tasks} gold answers, rendered through the "
            f"template, miss full reward (limit {max_bad}, checks.max_bad_golds): "
            f"{'; '.join(bad[:3])}{more}; correct the rows or the template "
            "(prompt.answer_style, rewards), or raise the limit"
        )
