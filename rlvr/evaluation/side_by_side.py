"""Several evaluations in one report: the numbers in columns, the same prompts side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.evaluation.eval_config import CompareConfig
from rlvr.evaluation.eval_report import (
    COSTS,
    metric_rows,
    natural_order,
    prompt_text,
    shown_completion,
    strategy_cells,
)
from rlvr.report.document import Block, Heading, Quote, Table, Text
from rlvr.report.number_format import count, number, share
from rlvr.report.paper import paper_table

__all__ = ["Evaluated", "comparison_report", "headline_rows"]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A finished evaluation: its label in the report, its summary, its rows."""

    label: str
    summary: Mapping[str, Any]
    rows: Sequence[Row]

    def metrics(self, suite: str) -> Mapping[str, Any] | None:
        """The numbers of a suite; None where this evaluation has not got it."""
        found: Mapping[str, Any] | None = self.summary["suites"].get(suite)
        return found


def comparison_report(evaluations: Sequence[Evaluated], config: CompareConfig) -> list[Block]:
    """Blocks for Markdown and HTML."""
    suites = config.suites or list(
        dict.fromkeys(suite for one in evaluations for suite in one.summary["suites"])
    )
    head = ("", *(f"{suite} pass@1" for suite in suites), "tokens", "seconds")
    errors = "one standard error" if config.confidence == 1 else f"{config.confidence:g} errors"
    blocks: list[Block] = [
        Heading(config.title, 1),
        Table(head, list(headline_rows(evaluations, suites, times=config.confidence))),
        Text(
            f"± is {errors} over tasks; tokens and seconds are those of one completion. What each "
            "row means: docs/evaluation.md."
        ),
    ]
    for suite in suites:
        blocks += _suite(suite, evaluations, config)
    blocks += [Heading("Strategies and what they cost"), _strategies(evaluations, suites)]
    for name in config.paper:
        blocks += _paper(name)
    return blocks


def headline_rows(
    evaluations: Sequence[Evaluated], suites: Sequence[str], *, times: float
) -> Iterator[tuple[str, ...]]:
    """One row a model: pass@1 of each suite, then tokens and seconds of one completion."""
    for one in evaluations:
        metrics = [one.metrics(suite) for suite in suites]
        there = [m for m in metrics if m is not None]
        yield (
            one.label,
            *(
                share(m["pass_at_1"], m["pass_at_1_stderr"], times=times) if m else share(None)
                for m in metrics
            ),
            number(sum(m["tokens_mean"] for m in there) / len(there) if there else None),
            number(_seconds(there), 3),
        )


def _seconds(metrics: Sequence[Mapping[str, Any]]) -> float | None:
    """Of one completion, as many of them are written at a time."""
    num_written = sum(m["num_tasks"] * m["num_samples"] for m in metrics)
    return sum(m["seconds"] for m in metrics) / num_written if num_written else None


def _suite(suite: str, evaluations: Sequence[Evaluated], config: CompareConfig) -> Iterator[Block]:
    there = [one for one in evaluations if one.metrics(suite) is not None]
    metrics = [m for one in there if (m := one.metrics(suite)) is not None]
    yield Heading(suite)
    rows = list(metric_rows(metrics, times=config.confidence))
    yield Table(("", *(one.label for one in there)), rows)
    if shown := list(_side_by_side(suite, there, config)):
        yield Heading(f"{suite}: the same prompts", 3)
        yield from shown


def _side_by_side(
    suite: str, evaluations: Sequence[Evaluated], config: CompareConfig
) -> Iterator[Block]:
    """The first completion of each model for prompts that all of them have."""
    firsts = [_first_rows(one, suite) for one in evaluations]
    shared = [row for key, row in firsts[0].items() if all(key in first for first in firsts)]
    for row in sorted(shared, key=natural_order)[: config.num_prompts]:
        yield Text(f"{row['id']}: {prompt_text(row['prompt'])}")
        yield Quote(
            [
                (_label(one.label, first[row["id"]]), _shown(first[row["id"]], config))
                for one, first in zip(evaluations, firsts, strict=True)
            ]
        )


def _first_rows(one: Evaluated, suite: str) -> dict[str, Row]:
    """By task id; of the first strategy, whose numbers stand in the table."""
    rows = [row for row in one.rows if row["suite"] == suite and row["sample_index"] == 0]
    pool = next(iter(one.summary["strategies"][suite]), "plain")
    pool = pool if pool in ("cot", "beam") else "plain"
    return {row["id"]: row for row in rows if row["strategy"] == pool}


def _label(label: str, row: Row) -> str:
    verdict = "right" if row["is_right"] else "not right"
    thought, answer = count(row["thought_tokens"]), count(row["answer_tokens"])
    return f"{label}: {verdict}, thought {thought} tokens, answer {answer}"


def _shown(row: Row, config: CompareConfig) -> str:
    return shown_completion(row, hide_thought=config.hide_thought, max_chars=config.max_chars)


def _strategies(evaluations: Sequence[Evaluated], suites: Sequence[str]) -> Table:
    rows = [
        (f"{one.label}, {suite}, {name}", *strategy_cells(found))
        for one in evaluations
        for suite in suites
        for name, found in one.summary["strategies"].get(suite, {}).items()
    ]
    return Table(("", *COSTS), rows)


def _paper(name: str) -> Iterator[Block]:
    """Shares stand in percent there, as in the paper."""
    table = paper_table(name)
    yield Heading(f"For reference: the paper's numbers ({name.replace('_', ' ')})")
    yield Table(
        ("", *table.columns),
        [
            (f"{label} (paper)", *(f"{v:g}" if v is not None else "-" for v in values))
            for label, values in table.rows.items()
        ],
    )
    yield Text(
        "Of DeepSeek-R1 (arXiv 2501.12948), not measured here: other models, prompts and budgets."
    )
