"""The rows of a recipe as token ids in an Arrow file, and their counts for the manifest.

examples --row_encoding--> ids, labels --> run folder/tokens/N/rows.arrow
                                           memory-mapped, whatever its size
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import ConfigError
from rlvr.stages.sft.examples import Example, chosen_examples
from rlvr.stages.sft.row_encoding import (
    IGNORED,
    Fate,
    RenderedRow,
    RowEncoder,
    TokenRow,
    end_of_turn,
)
from rlvr.stages.sft.sft_plan import SftPlan

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["RowCounts", "TokenData", "count_warnings", "make_data"]

NUM_SHOWN = 5  # rows that a warning names


@dataclass(slots=True, kw_only=True)
class RowCounts:
    """Totals over the rows of a run."""

    num_rows: int = 0  # to train on
    num_tokens: int = 0
    num_learned_tokens: int = 0
    thought_frac: float = 0.0  # rows with reasoning, a fraction of num_rows
    num_cut: int = 0  # after max_tokens
    num_too_long: int = 0  # dropped
    num_empty: int = 0  # dropped
    by_source: dict[str, int] = field(default_factory=dict)
    think_prefilled: bool = False  # the prompts open <think>
    longest_tokens: int = 0
    other_end: str | None = None  # of the chat template, if another end token is learned
    first_cut: list[str] = field(default_factory=list)  # file:line of the first cut or dropped

    def add(self, row: TokenRow, rendered: RenderedRow, *, source: str, where: str) -> None:
        """Count a row."""
        self.num_cut += row.fate is Fate.CUT
        self.num_too_long += row.fate is Fate.TOO_LONG
        self.num_empty += row.fate is Fate.EMPTY
        if row.fate in (Fate.CUT, Fate.TOO_LONG) and len(self.first_cut) < NUM_SHOWN:
            self.first_cut.append(where)
        self.think_prefilled |= rendered.think_prefilled
        if row.input_ids:
            self.num_rows += 1
            self.by_source[source] = self.by_source.get(source, 0) + 1
            self.num_tokens += len(row.input_ids)
            self.longest_tokens = max(self.longest_tokens, len(row.input_ids))
            self.num_learned_tokens += sum(label != IGNORED for label in row.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenData:
    """Rows with the columns input_ids and labels, the domain of each, and their counts."""

    dataset: Dataset
    domains: list[str]
    counts: RowCounts


def make_data(plan: SftPlan, tokenizer: Any, folder: Path) -> TokenData:
    """Tokenize the rows into `folder`. Raises ConfigError: no row to learn, or an unusable one."""
    from datasets import Dataset, Features, Sequence, Value
    from datasets.arrow_writer import ArrowWriter

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    encoder = RowEncoder(plan, tokenizer)
    names = [source.path for source in plan.config.sources] or [plan.title]
    counts = RowCounts(other_end=end_of_turn(plan.template, tokenizer))
    column = plan.config.domains.column if plan.config.domains else None
    domains: list[str] = []
    num_thoughts = 0
    ids = Sequence(Value("int32"))
    path, features = str(folder / "rows.arrow"), Features({"input_ids": ids, "labels": ids})
    with ArrowWriter(path=path, features=features) as writer:
        for source, example in _examples(plan):
            rendered = encoder.render(example)
            row = encoder.encode(rendered)
            counts.add(row, rendered, source=names[source], where=example.where)
            if row.input_ids:
                num_thoughts += rendered.has_thought
                if column is not None and column not in example.columns:
                    raise ConfigError(f"{example.where}: domains.column: no column {column!r}")
                default = f"{source}:{names[source]}"
                domains.append(default if column is None else str(example.columns[column]))
                writer.write({"input_ids": row.input_ids, "labels": row.labels})
        if not domains:
            raise ConfigError(
                f"data: {plan.title} has nothing to learn: {counts.num_empty} rows empty, "
                f"{counts.num_too_long} rows too_long"
            )
        writer.finalize()
    counts.thought_frac = num_thoughts / counts.num_rows
    return TokenData(dataset=Dataset.from_file(path), domains=domains, counts=counts)


def count_warnings(counts: RowCounts, plan: SftPlan) -> list[str]:
    """Return warnings to print before the run: cut rows, another end token, no reasoning."""
    config = plan.config
    lines = []
    num_short = counts.num_cut + counts.num_too_long
    if num_short:
        lines.append(
            f"max_tokens: {num_short} rows are longer than {config.max_tokens}; {counts.num_cut} "
            f"are cut and lose their end, {counts.num_too_long} are dropped: "
            f"{', '.join(counts.first_cut)}"
        )
    if counts.other_end is not None:
        lines.append(
            f"eos_token: the chat template ends an answer with {counts.other_end!r}, but another "
            "end token is learned; set eos_token to it if the model is meant to chat"
        )
    is_thinking = counts.think_prefilled if config.thinking is None else config.thinking
    if is_thinking and counts.thought_frac == 0:
        lines.append(
            "data: no row has reasoning, but the model should reason and would lose the "
            "ability; add rows with reasoning, or set no_thought: empty_block"
        )
    return lines


def _examples(plan: SftPlan) -> Iterator[tuple[int, Example]]:
    config = plan.config
    if config.sources:
        yield from chosen_examples(plan)
        return
    from rlvr.toy.corpus import documents, worked_examples

    assert config.num_rows is not None  # checked by SftConfig
    pairs: Iterable[tuple[str | None, str]]
    if plan.title == "toy_text":
        pairs = ((None, text) for text in islice(documents(config.seed), config.num_rows))
    else:
        rows = worked_examples(config.num_rows, seed=config.seed)
        pairs = ((row.prompt, row.completion) for row in rows)
    for number, (prompt, completion) in enumerate(pairs, start=1):
        where = f"{plan.title}:{number}"
        yield 0, Example(prompt=prompt, completion=completion, where=where, columns={})
