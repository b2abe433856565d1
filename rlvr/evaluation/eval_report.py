"""The reports of `rlvr eval` and `rlvr compare`.

eval     metrics of each suite, costs of each strategy, examples
compare  metrics of several evaluations and completions of the same prompts side by side
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rlvr.evaluation.eval_config import CompareConfig, EvaluateConfig
from rlvr.report.document import Block, Heading, Quote, Table, Text

__all__ = [
    "FinishedEvaluation",
    "comparison_report",
    "count",
    "evaluation_report",
    "metric_rows",
    "number",
    "paper_table",
    "percent",
    "share",
    "shown_completion",
]

Metrics = Mapping[str, Any]
Row = Mapping[str, Any]

MISSING = "-"  # a number that is None


def evaluation_report(
    summary: Mapping[str, Any], rows: Sequence[Row], config: EvaluateConfig
) -> list[Block]:
    """Return the blocks of the report; `rows` are those of rows.jsonl."""
    suites: Mapping[str, Metrics] = summary["suites"]
    protocol = summary["protocol"]
    budget = protocol["thinking_budget"]
    strategies = [
        (f"{suite}, {name}" if len(suites) > 1 else name, found)
        for suite, by_name in summary["strategies"].items()
        for name, found in by_name.items()
    ]
    blocks: list[Block] = [
        Heading(f"Evaluation of {summary['model']}", 1),
        Text(
            f"Temperature {protocol['temperature']:g}, top-p {protocol['top_p']:g}, at most "
            f"{max(protocol['max_tokens'].values()):,} tokens"
            + (f", reasoning closed after {budget:,} tokens." if budget else ".")
        ),
        Table(("", *suites), list(metric_rows(list(suites.values())))),
        Text("± is one standard error over tasks. The rows are defined in docs/evaluation.md."),
        Heading("Strategies and their costs"),
        _strategy_table(strategies),
    ]
    return blocks + list(_examples(rows, config))


def metric_rows(columns: Sequence[Metrics], *, times: float = 1.0) -> Iterator[tuple[str, ...]]:
    """Yield one row per metric with one cell per column; rows without any number are left out."""

    def with_error(name: str, stderr: str) -> list[str]:
        return [share(m[name], m[stderr], times=times) for m in columns]

    def percents(name: str) -> list[str]:
        return [percent(m[name]) for m in columns]

    def means(name: str, digits: int = 1) -> list[str]:
        return [number(m[name], digits) for m in columns]

    rows = [
        ("tasks x samples", [f"{m['num_tasks']} x {m['num_samples']}" for m in columns]),
        ("pass@1", with_error("pass_at_1", "pass_at_1_stderr")),
        *_passes(columns),
        ("cons@k", with_error("cons_at_k", "cons_at_k_stderr")),
        ("well-formed", with_error("format_frac", "format_stderr")),
        ("thinks", percents("think_frac")),
        ("truncated", percents("truncated_frac")),
        ("closed by the budget", [percent(m["budget_closed_frac"] or None) for m in columns]),
        ("tokens", means("tokens_mean")),
        ("  of the thought", means("thought_tokens_mean")),
        ("  of the answer", means("answer_tokens_mean")),
        ("tokens per correct answer", means("tokens_per_correct")),
        ("repetition", percents("repetition_mean")),
        ("words of another language", percents("language_mixing_mean")),
        ("mixed completions", percents("mixed_frac")),
        ("readable", percents("readable_frac")),
        ("reflection words", means("reflection_words_mean", 2)),
        ("lines that are bullets", percents("bullet_frac")),
        ("paragraphs of the answer", means("paragraphs_mean")),
        ("right steps", percents("step_correctness")),
        ("key points", percents("key_point_coverage")),
        ("drop by distractors", [percent(m.get("robustness_drop")) for m in columns]),
        *_rewards(columns),
    ]
    return ((name, *cells) for name, cells in rows if set(cells) != {MISSING})


def _rewards(columns: Sequence[Metrics]) -> Iterator[tuple[str, list[str]]]:
    """Yield a row for each further reward, labelled with the last part of its name."""
    for name in dict.fromkeys(name for m in columns for name in m.get("rewards", ())):
        label = name.rpartition(":")[2]
        yield f"reward {label}", [number(m.get("rewards", {}).get(name), 3) for m in columns]


def shown_completion(row: Row, *, hide_thought: bool, max_chars: int = 2000) -> str:
    """Return a completion for display; hidden reasoning is replaced by its length."""
    text = str(row["completion"]).strip()
    if hide_thought and row["reasoning_content"] is not None:
        text = f"[thought of {count(row['thought_tokens'])} tokens]\n{row['content']}"
    return text if len(text) <= max_chars else text[:max_chars] + " [...]"


def _passes(columns: Sequence[Metrics]) -> Iterator[tuple[str, list[str]]]:
    """Yield pass@k for k > 1."""
    suffixes = {name.removeprefix("pass_at_") for m in columns for name in m if "pass_at_" in name}
    for k in sorted(int(suffix) for suffix in suffixes if suffix.isdigit() and suffix != "1"):
        yield f"pass@{k}", [share(m.get(f"pass_at_{k}")) for m in columns]


def _strategy_table(strategies: Iterable[tuple[str, Metrics]]) -> Table:
    """Return a table of accuracy and costs with a row for each (label, metrics)."""
    head = ("", "accuracy", "samples", "tokens/task", "tokens/correct", "seconds/task")
    rows = [
        (
            label,
            share(found["accuracy"], found["accuracy_stderr"]),
            str(found["samples"]),
            number(found["tokens_per_task"]),
            number(found["tokens_per_correct"]),
            number(found["seconds_per_task"], 3),
        )
        for label, found in strategies
    ]
    return Table(head, rows)


def _examples(rows: Sequence[Row], config: EvaluateConfig) -> Iterator[Block]:
    """Yield the first completion of the first tasks of each suite, under the first strategy."""
    for suite in config.suites:
        shown = _first_completions(rows, suite=suite, pool=config.strategy[0].pool)
        if shown and config.num_examples:
            yield Heading(f"Examples: {suite}")
        for row in shown[: config.num_examples]:
            verdict = "right" if row["is_right"] else "not right"
            text = shown_completion(row, hide_thought=config.hide_thought)
            yield Quote([(f"{row['id']}", _prompt_text(row["prompt"])), (verdict, text)])


def _first_completions(rows: Sequence[Row], *, suite: str, pool: str) -> list[Row]:
    """Return the first completion of each task, sorted by id: toy/2 before toy/10."""

    def natural_order(row: Row) -> list[tuple[int, int, str]]:
        parts = str(row["id"]).split("/")
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]

    key = (suite, pool, 0)
    first = [row for row in rows if (row["suite"], row["strategy"], row["sample_index"]) == key]
    return sorted(first, key=natural_order)


def _prompt_text(prompt: Any) -> str:
    """Return a prompt for display; the messages of a conversation are preceded by their roles."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedEvaluation:
    """A finished evaluation: its label in the report, its summary and its rows."""

    label: str
    summary: Mapping[str, Any]
    rows: Sequence[Row]


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
    blocks += [Heading("Strategies and their costs"), _strategy_table(strategies)]
    for name in config.paper:
        blocks += _paper(name)
    return blocks


def _headline(one: FinishedEvaluation, suites: Sequence[str], *, times: float) -> tuple[str, ...]:
    """Label, pass@1 of each suite, then tokens and wall-clock seconds per completion."""
    metrics = [one.summary["suites"].get(suite) for suite in suites]
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
    having = [one for one in evaluations if suite in one.summary["suites"]]
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
        rows = _first_completions(one.rows, suite=suite, pool=pool)
        firsts.append({row["id"]: row for row in rows})
    shared = [row for key, row in firsts[0].items() if all(key in first for first in firsts)]
    for row in shared[: config.num_prompts]:
        yield Text(f"{row['id']}: {_prompt_text(row['prompt'])}")
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


def paper_table(name: str) -> dict[str, Any]:
    """Load `columns` and `rows` (label -> numbers) of a table of paper.yaml.

    Shares are in percent, Codeforces is a rating; None: the paper gives no number.
    """
    path = Path(__file__).with_name("paper.yaml")
    table: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))[name]
    return table


def _paper(name: str) -> Iterator[Block]:
    table = paper_table(name)
    yield Heading(f"For reference: the paper's numbers ({name.replace('_', ' ')})")
    rows = [
        (f"{label} (paper)", *(MISSING if v is None else f"{v:g}" for v in values))
        for label, values in table["rows"].items()
    ]
    yield Table(("", *table["columns"]), rows)
    yield Text(
        "From DeepSeek-R1 (arXiv 2501.12948), not measured here: other models, prompts and "
        "token budgets."
    )


def share(value: float | None, stderr: float | None = None, *, times: float = 1.0) -> str:
    """Format a share with `times` its standard error: "0.750 ± 0.041"."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if stderr is None else f"{value:.3f} ± {times * stderr:.3f}"


def percent(value: float | None) -> str:
    """Format a share in percent: "12.5%"."""
    return MISSING if value is None else f"{value:.1%}"


def number(value: float | None, digits: int = 1) -> str:
    """Format a number with `digits` decimals: "1,234.5"."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """Format a count: "1,234"."""
    return number(value, 0)
