"""The report of `rlvr eval`: metrics of each suite, costs of each strategy, examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rlvr.evaluation.eval_config import EvaluateConfig
from rlvr.report.document import Block, Heading, Quote, Table, Text
from rlvr.report.number_format import MISSING, count, number, percent, share

__all__ = [
    "evaluation_report",
    "first_completions",
    "metric_rows",
    "prompt_text",
    "shown_completion",
    "strategy_table",
]

Metrics = Mapping[str, Any]
Row = Mapping[str, Any]


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
        strategy_table(strategies),
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


def strategy_table(strategies: Iterable[tuple[str, Metrics]]) -> Table:
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
        shown = first_completions(rows, suite=suite, pool=config.strategy[0].pool)
        if shown and config.num_examples:
            yield Heading(f"Examples: {suite}")
        for row in shown[: config.num_examples]:
            verdict = "right" if row["is_right"] else "not right"
            text = shown_completion(row, hide_thought=config.hide_thought)
            yield Quote([(f"{row['id']}", prompt_text(row["prompt"])), (verdict, text)])


def first_completions(rows: Sequence[Row], *, suite: str, pool: str) -> list[Row]:
    """Return the first completion of each task, sorted by id: toy/2 before toy/10."""

    def natural_order(row: Row) -> list[tuple[int, int, str]]:
        parts = str(row["id"]).split("/")
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]

    key = (suite, pool, 0)
    first = [row for row in rows if (row["suite"], row["strategy"], row["sample_index"]) == key]
    return sorted(first, key=natural_order)


def prompt_text(prompt: Any) -> str:
    """Return a prompt for display; the messages of a conversation are preceded by their roles."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)
