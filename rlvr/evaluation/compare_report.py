"""The report of `rlvr compare`: metrics of several evaluations and completions side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rlvr.evaluation.eval_config import CompareConfig
from rlvr.evaluation.eval_report import (
    first_completions,
    metric_rows,
    prompt_text,
    shown_completion,
    strategy_table,
)
from rlvr.report.document import Block, Heading, Quote, Table, Text
from rlvr.report.number_format import MISSING, count, number, share

__all__ = ["FinishedEvaluation", "PaperTable", "comparison_report", "paper_table"]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedEvaluation:
    """A finished evaluation: its label in the report, its summary and its rows."""

    label: str
    summary: Mapping[str, Any]
    rows: Sequence[Row]

    def metrics(self, suite: str) -> Mapping[str, Any] | None:
        """Return the metrics of a suite, or None if this evaluation does not have the suite."""
        found: Mapping[str, Any] | None = self.summary["suites"].get(suite)
        return found


def comparison_report(
    evaluations: Sequence[FinishedEvaluation], config: CompareConfig
) -> list[Block]:
    """Return the blocks of the report."""
    suites = config.suites or list(
        dict.fromkeys(suite for one in evaluations for suite in one.summary["suites"])
    )
    head = ("", *(f"{suite} pass@1" for suite in suites), "tokens", "seconds")
    errors = "one standard error" if config.confidence == 1 else f"{config.confidence:g} errors"
    blocks: list[Block] = [
        Heading(config.title, 1),
        Table(head, [_headline(one, suites, times=config.confidence) for one in evaluations]),
        Text(
            f"± is {errors} over tasks; tokens and seconds are per completion. The rows are "
            "defined in docs/evaluation.md."
        ),
    ]
    for suite in suites:
        blocks += _suite(suite, evaluations, config)
    strategies = [
        (f"{one.label}, {suite}, {name}", found)
        for one in evaluations
        for suite in suites
        for name, found in one.summary["strategies"].get(suite, {}).items()
    ]
    blocks += [Heading("Strategies and their costs"), strategy_table(strategies)]
    for name in config.paper:
        blocks += _paper(name)
    return blocks


def _headline(one: FinishedEvaluation, suites: Sequence[str], *, times: float) -> tuple[str, ...]:
    """Label, pass@1 of each suite, then tokens and wall-clock seconds per completion."""
    metrics = [one.metrics(suite) for suite in suites]
    known = [m for m in metrics if m is not None]
    num_completions = sum(m["num_tasks"] * m["num_samples"] for m in known)
    tokens = sum(m["tokens_mean"] for m in known) / len(known) if known else None
    seconds = sum(m["seconds"] for m in known) / num_completions if num_completions else None
    return (
        one.label,
        *(
            share(m["pass_at_1"], m["pass_at_1_stderr"], times=times) if m else MISSING
            for m in metrics
        ),
        number(tokens),
        number(seconds, 3),
    )


def _suite(
    suite: str, evaluations: Sequence[FinishedEvaluation], config: CompareConfig
) -> Iterator[Block]:
    having = [one for one in evaluations if one.metrics(suite) is not None]
    metrics = [one.summary["suites"][suite] for one in having]
    yield Heading(suite)
    rows = list(metric_rows(metrics, times=config.confidence))
    yield Table(("", *(one.label for one in having)), rows)
    if examples := list(_side_by_side(suite, having, config)):
        yield Heading(f"{suite}: the same prompts", 3)
        yield from examples


def _side_by_side(
    suite: str, evaluations: Sequence[FinishedEvaluation], config: CompareConfig
) -> Iterator[Block]:
    """Yield the first completion of each model for prompts that all of them have."""
    firsts = []
    for one in evaluations:
        pool = next(iter(one.summary["strategies"][suite]), "plain")
        pool = pool if pool in ("cot", "beam") else "plain"
        rows = first_completions(one.rows, suite=suite, pool=pool)
        firsts.append({row["id"]: row for row in rows})
    shared = [row for key, row in firsts[0].items() if all(key in first for first in firsts)]
    for row in shared[: config.num_prompts]:
        yield Text(f"{row['id']}: {prompt_text(row['prompt'])}")
        yield Quote(
            [
                _labelled(one.label, first[row["id"]], config)
                for one, first in zip(evaluations, firsts, strict=True)
            ]
        )


def _labelled(label: str, row: Row, config: CompareConfig) -> tuple[str, str]:
    verdict = "right" if row["is_right"] else "not right"
    thought, answer = count(row["thought_tokens"]), count(row["answer_tokens"])
    text = shown_completion(row, hide_thought=config.hide_thought, max_chars=config.max_chars)
    return f"{label}: {verdict}, thought {thought} tokens, answer {answer}", text


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table of the DeepSeek-R1 paper: shares in percent, Codeforces as a rating."""

    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | None]]  # None: the paper gives no number


@cache
def paper_table(name: str) -> PaperTable:
    """Load a table of paper.yaml: `r1_stages` or `distilled`."""
    path = Path(__file__).with_name("paper.yaml")
    return PaperTable(**yaml.safe_load(path.read_text(encoding="utf-8"))[name])


def _paper(name: str) -> Iterator[Block]:
    table = paper_table(name)
    yield Heading(f"For reference: the paper's numbers ({name.replace('_', ' ')})")
    rows = [
        (f"{label} (paper)", *(MISSING if v is None else f"{v:g}" for v in values))
        for label, values in table.rows.items()
    ]
    yield Table(("", *table.columns), rows)
    yield Text(
        "From DeepSeek-R1 (arXiv 2501.12948), not measured here: other models, prompts and "
        "token budgets."
    )
