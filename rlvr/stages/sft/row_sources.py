"""Which rows of which sources a run learns from: a mixture by weights, the same for a seed.

sources --count--> rows of each that fit --weights--> how many of each --seed--> which ones

One pass counts, a second one reads: no row is kept in memory between them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rlvr.data.rows import read_rows
from rlvr.errors import ConfigError
from rlvr.stages.sft.examples import Example, read_example, read_preference, thought_of
from rlvr.stages.sft.sft_config import SftConfig

if TYPE_CHECKING:
    from rlvr.stages.sft.sft_config import SourceSection

__all__ = ["check_sources", "chosen_examples", "mixture_counts"]


def check_sources(config: SftConfig) -> None:
    """Raises ConfigError where a source cannot be read or its first row has no known form."""
    for source in config.sources:
        if next(_examples(source, config), None) is None:
            raise ConfigError(f"data: {source.path} holds no rows{_of_kind(source)}")


def mixture_counts(
    weights: Sequence[float], available: Sequence[int], num_rows: int | None = None
) -> list[int]:
    """Rows of each source, in proportion to the weights to within one row (largest remainders).

    Without `num_rows` the mixture is as large as the scarcest source allows. Raises ValueError
    with the place of a source that has too few.
    """
    total = sum(weights)
    if num_rows is None:
        num_rows = int(min(n * total / w for n, w in zip(available, weights, strict=True)) + 1e-9)
    exact = [num_rows * weight / total for weight in weights]
    counts = [int(share + 1e-9) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: num_rows - sum(counts)]:
        counts[i] += 1
    for i, (count, limit) in enumerate(zip(counts, available, strict=True)):
        if count > limit:
            raise ValueError(i, count)
    return counts


def chosen_examples(config: SftConfig) -> Iterator[tuple[int, Example]]:
    """The place of its source and the example, in the order of the files. Raises ConfigError."""
    sources = config.sources
    if len(sources) == 1:
        limit = _least(config.num_rows, sources[0].num_rows)
        for example in _first(_examples(sources[0], config), limit):
            yield 0, example
        return
    for place, (source, count, available) in enumerate(_plan(config)):
        rng = random.Random(f"sft/mixture/{config.seed}/{place}")
        chosen = set(rng.sample(range(available), count))
        for number, example in enumerate(_first(_examples(source, config), source.num_rows)):
            if number in chosen:
                yield place, example


def _plan(config: SftConfig) -> list[tuple[SourceSection, int, int]]:
    """Each source with how many rows are taken of how many."""
    sources = config.sources
    available = [
        sum(1 for _ in _first(_examples(source, config), source.num_rows)) for source in sources
    ]
    for source, count in zip(sources, available, strict=True):
        if count == 0:
            raise ConfigError(f"data: {source.path} holds no rows{_of_kind(source)}")
    weights = [source.weight for source in sources if source.weight is not None]
    counts = available
    if weights:
        try:
            counts = mixture_counts(weights, available, config.num_rows)
        except ValueError as error:
            place, wanted = error.args
            raise ConfigError(
                f"data: {sources[place].path} has {available[place]} rows"
                f"{_of_kind(sources[place])}, and the mixture of {config.num_rows} wants {wanted}; "
                "lower num_rows or its weight"
            ) from None
    return list(zip(sources, counts, available, strict=True))


def _examples(source: SourceSection, config: SftConfig) -> Iterator[Example]:
    """Those of the wanted kind; rows that an earlier stage dropped are not among them."""
    for row in read_rows(source.path, split=source.split, section="data"):
        if row.values.get("kept") is False:
            continue
        if config.head == "scalar":
            example = read_preference(row, columns=source.columns)
        else:
            example = read_example(
                row, columns=source.columns, answer_template=config.answer_template
            )
        is_wanted = source.has_thought in (None, bool(thought_of(example.completion)))
        if is_wanted:
            yield example


def _of_kind(source: SourceSection) -> str:
    kinds = {None: "", True: " with a thought", False: " without a thought"}
    return kinds[source.has_thought]


def _least(*numbers: int | None) -> int | None:
    return min((n for n in numbers if n is not None), default=None)


def _first(examples: Iterator[Example], limit: int | None) -> Iterator[Example]:
    for number, example in enumerate(examples):
        if limit is not None and number >= limit:
            return
        yield example
