"""The rows of a run: a mixture of sources by weight, the same for the same seed.

sources --count--> matching rows of each --weights--> rows to take of each --seed--> which rows

The first pass counts and the second one reads; no row is kept in memory between them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from rlvr.data.rows import read_rows
from rlvr.errors import ConfigError
from rlvr.stages.sft.examples import Example, read_example, read_preference, reasoning_of
from rlvr.stages.sft.sft_config import SourceSection
from rlvr.stages.sft.sft_plan import DataPlan

__all__ = ["check_sources", "chosen_examples", "mixture_counts"]


def check_sources(plan: DataPlan) -> None:
    """Raise ConfigError if a source cannot be read or its first row has no known form."""
    for source in plan.sources:
        if next(_examples(source, plan), None) is None:
            raise _no_rows(source)


def mixture_counts(
    weights: Sequence[float], available: Sequence[int], num_rows: int | None = None
) -> list[int]:
    """Return the rows of each source, proportional to the weights (largest remainders).

    Without `num_rows` the mixture is as large as the scarcest source allows.

    Raises:
        ValueError: a source has too few rows; its arguments are its index and the rows it needs.
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


def chosen_examples(plan: DataPlan) -> Iterator[tuple[int, Example]]:
    """Yield (index of the source, example) in the order of the files. Raises ConfigError."""
    sources = plan.sources
    if len(sources) == 1:
        limits = [n for n in (plan.num_rows, sources[0].num_rows) if n is not None]
        for example in islice(_examples(sources[0], plan), min(limits, default=None)):
            yield 0, example
        return
    available = [sum(1 for _ in _first_examples(source, plan)) for source in sources]
    counts = _rows_to_take(plan, available)
    for index, source in enumerate(sources):
        rng = random.Random(f"sft/mixture/{plan.seed}/{index}")
        chosen = set(rng.sample(range(available[index]), counts[index]))
        for number, example in enumerate(_first_examples(source, plan)):
            if number in chosen:
                yield index, example


def _rows_to_take(plan: DataPlan, available: list[int]) -> list[int]:
    for source, count in zip(plan.sources, available, strict=True):
        if count == 0:
            raise _no_rows(source)
    weights = [source.weight for source in plan.sources if source.weight is not None]
    if not weights:
        return available
    try:
        return mixture_counts(weights, available, plan.num_rows)
    except ValueError as error:
        index, needed = error.args
        source = plan.sources[index]
        raise ConfigError(
            f"data: {source.path} has {available[index]} rows{_kind(source)}, but the mixture of "
            f"{plan.num_rows} needs {needed}; lower num_rows or its weight"
        ) from None


def _first_examples(source: SourceSection, plan: DataPlan) -> Iterator[Example]:
    return islice(_examples(source, plan), source.num_rows)


def _examples(source: SourceSection, plan: DataPlan) -> Iterator[Example]:
    """Yield the matching rows, without those that an earlier stage dropped."""
    for row in read_rows(source.path, split=source.split, section="data"):
        if row.values.get("kept") is False:
            continue
        if plan.has_preferences:
            example = read_preference(row, columns=source.columns)
        else:
            example = read_example(
                row, columns=source.columns, answer_template=plan.answer_template
            )
        if source.has_thought in (None, bool(reasoning_of(example.completion))):
            yield example


def _no_rows(source: SourceSection) -> ConfigError:
    return ConfigError(f"data: {source.path} has no rows{_kind(source)}")


def _kind(source: SourceSection) -> str:
    kinds = {None: "", True: " with reasoning", False: " without reasoning"}
    return kinds[source.has_thought]
