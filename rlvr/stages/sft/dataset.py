"""The rows of a recipe as token ids in an Arrow file, and what is to be told about them.

examples --template--> text --tokenizer--> ids, labels --> run folder/tokens/rows.arrow
                                                           memory-mapped, whatever its size
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.data.prompts import make_template
from rlvr.errors import ConfigError
from rlvr.stages.sft.examples import Example
from rlvr.stages.sft.rendering import end_of_turn, render_row
from rlvr.stages.sft.row_sources import chosen_examples
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.tokens import IGNORED, Fate, RowEncoder

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Counts", "TokenData", "check_counts", "make_data"]

SHOWN = 5  # rows that are named where many are meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the manifest says about the rows."""

    num_rows: int  # that are learned from
    num_tokens: int
    num_learned_tokens: int
    thought_frac: float
    num_cut: int  # behind max_tokens
    num_too_long: int  # dropped
    num_empty: int  # dropped
    by_source: dict[str, int]
    think_prefilled: bool  # the prompts begin the thought
    longest_tokens: int
    other_end: str | None  # that the chat template puts behind an answer, and nobody learns
    first_cut: tuple[str, ...]  # file:row of the first that were cut or dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenData:
    """Columns input_ids and labels; `domains` names each row's domain."""

    dataset: Dataset
    domains: list[str]
    counts: Counts


def make_data(config: SftConfig, tokenizer: Any, folder: Path) -> TokenData:
    """Raises ConfigError: nothing to learn, or a row that cannot be rendered."""
    from datasets import Dataset, Features, Sequence, Value
    from datasets.arrow_writer import ArrowWriter

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ids = Sequence(Value("int32"))
    tally = _Tally(config)
    with ArrowWriter(
        path=str(folder / "rows.arrow"), features=Features({"input_ids": ids, "labels": ids})
    ) as writer:
        for row in _token_rows(config, tokenizer, tally):
            writer.write(row)
        if not tally.domains:
            raise ConfigError(f"data: {config.data} holds nothing to learn: {tally.why_nothing()}")
        writer.finalize()
    dataset = Dataset.from_file(str(folder / "rows.arrow"))
    return TokenData(dataset=dataset, domains=tally.domains, counts=tally.counts())


def check_counts(counts: Counts, config: SftConfig) -> list[str]:
    """Lines that the user should see before the run: cut rows, no thought where one is meant."""
    lines = []
    num_short = counts.num_cut + counts.num_too_long
    if num_short:
        first = ", ".join(counts.first_cut)
        lines.append(
            f"max_tokens: {config.max_tokens} is less than {num_short} rows have; {counts.num_cut} "
            f"are cut and lose their end, {counts.num_too_long} are dropped: {first}"
        )
    if counts.other_end is not None:
        lines.append(
            f"eos_token: the chat template ends an answer with {counts.other_end!r}, and another "
            "end is learned; set eos_token to it if the model is to chat"
        )
    is_thinking = counts.think_prefilled if config.thinking is None else config.thinking
    if is_thinking and counts.thought_frac == 0:
        lines.append(
            "data: no row has a thought, and the model is to think; it will unlearn it. Mix rows "
            "with a thought in, or set no_thought: empty_block"
        )
    return lines


class _Tally:
    """Counts while rows pass."""

    def __init__(self, config: SftConfig) -> None:
        self._names = [source.path for source in config.sources] or [str(config.data)]
        self._column = config.domains.column if config.domains else None
        self._fates: Counter[Fate] = Counter()
        self._sources: Counter[str] = Counter()
        self._short: list[str] = []
        self._num_tokens = self._num_learned = self._num_thoughts = self._longest = 0
        self._think_prefilled = False
        self.other_end: str | None = None
        self.domains: list[str] = []

    def add(self, place: int, example: Example, row: Any, rendered: Any) -> None:
        self._fates[row.fate] += 1
        if row.fate in (Fate.CUT, Fate.TOO_LONG) and len(self._short) < SHOWN:
            self._short.append(example.where)
        self._think_prefilled |= rendered.think_prefilled
        if not row.input_ids:
            return
        self._sources[self._names[place]] += 1
        self._num_tokens += len(row.input_ids)
        self._longest = max(self._longest, len(row.input_ids))
        self._num_learned += sum(label != IGNORED for label in row.labels)
        self._num_thoughts += rendered.has_thought
        self.domains.append(self._domain(place, example))

    def why_nothing(self) -> str:
        fates = {fate.value: self._fates[fate] for fate in (Fate.EMPTY, Fate.TOO_LONG)}
        return ", ".join(f"{count} rows {name}" for name, count in fates.items())

    def counts(self) -> Counts:
        num_rows = len(self.domains)
        return Counts(
            num_rows=num_rows,
            num_tokens=self._num_tokens,
            num_learned_tokens=self._num_learned,
            thought_frac=self._num_thoughts / num_rows,
            num_cut=self._fates[Fate.CUT],
            num_too_long=self._fates[Fate.TOO_LONG],
            num_empty=self._fates[Fate.EMPTY],
            by_source=dict(self._sources),
            think_prefilled=self._think_prefilled,
            longest_tokens=self._longest,
            other_end=self.other_end,
            first_cut=tuple(self._short),
        )

    def _domain(self, place: int, example: Example) -> str:
        if self._column is None:
            return f"{place}:{self._names[place]}"
        if self._column not in example.columns:
            raise ConfigError(
                f"{example.where}: domains.column: the row has no column {self._column!r}"
            )
        return str(example.columns[self._column])


def _token_rows(config: SftConfig, tokenizer: Any, tally: _Tally) -> Iterator[dict[str, Any]]:
    section = config.prompt
    template = make_template(section.template, system=section.system, prefill=section.prefill)
    encoder = RowEncoder(
        tokenizer=tokenizer,
        template=template,
        max_tokens=config.max_tokens,
        drops_long=config.too_long == "drop",
        learns_prompt=config.learn_prompt,
    )
    tally.other_end = end_of_turn(template, tokenizer)
    for place, example in _examples(config):
        rendered = render_row(example, template, tokenizer, no_thought=config.no_thought)
        row = encoder.encode(rendered)
        tally.add(place, example, row, rendered)
        if row.input_ids:
            yield {"input_ids": row.input_ids, "labels": row.labels}


def _examples(config: SftConfig) -> Iterator[tuple[int, Example]]:
    if not config.is_toy_data:
        yield from chosen_examples(config)
        return
    from rlvr.toy.corpus import documents, worked_examples

    assert config.num_rows is not None  # of the config's own checks
    if config.data == "toy_text":
        for number, text in enumerate(islice(documents(config.seed), config.num_rows), start=1):
            yield 0, Example(prompt=None, completion=text, where=f"toy_text:{number}", columns={})
        return
    for number, row in enumerate(worked_examples(config.num_rows, seed=config.seed), start=1):
        where = f"toy_worked:{number}"
        yield 0, Example(prompt=row.prompt, completion=row.completion, where=where, columns={})
