"""The rows of a run: rows of any known form as examples, from a mixture of sources by weight.

text                                learned as a whole
prompt, completion                  the completion as a model generated it
prompt, reasoning_content, content  joined by the recipe's answer_template
messages                            the last one, of the assistant, is learned
instruction, input, output          the prompt is instruction and input, on separate lines

sources --count--> matching rows of each --weights--> rows to take of each --seed--> which rows

The first pass counts and the second one reads; no row is kept in memory between them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rewards.transcript import CLOSE_THINK, OPEN_THINK
from rlvr.data.rows import Row, read_rows
from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import SourceSection
from rlvr.stages.sft.sft_plan import SftPlan
from rlvr.types import Prompt

__all__ = [
    "Example",
    "check_sources",
    "chosen_examples",
    "mixture_counts",
    "read_example",
    "reasoning_of",
]

PLACEHOLDER = re.compile(r"\{(\w+)\}")
FORMS = "text; prompt and completion; prompt and content; messages; instruction and output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row: `Example(prompt="2+3?", completion="<think>2+3=5</think>5")`."""

    prompt: Prompt | None  # before the template; None: the row is plain text
    completion: str  # empty if the row has nothing to learn
    where: str  # file:line, for error messages
    columns: Mapping[str, Any]


def read_example(row: Row, *, columns: Mapping[str, str], answer_template: str) -> Example:
    """Read a row. Raises ConfigError (file:line) for a missing column or an unknown form."""
    values = _mapped(row, columns)
    prompt, completion = _parts(values, where=row.where, answer_template=answer_template)
    return Example(prompt=prompt, completion=completion, where=row.where, columns=values)


def reasoning_of(completion: str, *, think_prefilled: bool = False) -> str:
    """Return the reasoning without its tags, or "".

    `think_prefilled`: the prompt ends in <think> and the completion starts inside the reasoning.
    """
    head, close, _ = completion.partition(CLOSE_THINK)
    before, opened, inside = head.partition(OPEN_THINK)
    if opened:
        return inside.strip()
    return before.strip() if close or think_prefilled else ""


def check_sources(plan: SftPlan) -> None:
    """Raise ConfigError if a source cannot be read or its first row has no known form."""
    for source in plan.config.sources:
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


def chosen_examples(plan: SftPlan) -> Iterator[tuple[int, Example]]:
    """Yield (index of the source, example) in the order of the files. Raises ConfigError."""
    sources = plan.config.sources
    if len(sources) == 1:
        limits = [n for n in (plan.config.num_rows, sources[0].num_rows) if n is not None]
        for example in islice(_examples(sources[0], plan), min(limits, default=None)):
            yield 0, example
        return
    available = [sum(1 for _ in _first_examples(source, plan)) for source in sources]
    counts = _rows_to_take(plan, available)
    for index, source in enumerate(sources):
        rng = random.Random(f"sft/mixture/{plan.config.seed}/{index}")
        chosen = set(rng.sample(range(available[index]), counts[index]))
        for number, example in enumerate(_first_examples(source, plan)):
            if number in chosen:
                yield index, example


def _rows_to_take(plan: SftPlan, available: list[int]) -> list[int]:
    for source, count in zip(plan.config.sources, available, strict=True):
        if count == 0:
            raise _no_rows(source)
    weights = [source.weight for source in plan.config.sources if source.weight is not None]
    if not weights:
        return available
    try:
        return mixture_counts(weights, available, plan.config.num_rows)
    except ValueError as error:
        index, needed = error.args
        source = plan.config.sources[index]
        raise ConfigError(
            f"data: {source.path} has {available[index]} rows{_kind(source)}, but the mixture of "
            f"{plan.config.num_rows} needs {needed}; lower num_rows or its weight"
        ) from None


def _first_examples(source: SourceSection, plan: SftPlan) -> Iterator[Example]:
    return islice(_examples(source, plan), source.num_rows)


def _examples(source: SourceSection, plan: SftPlan) -> Iterator[Example]:
    """Yield the matching rows, without those that an earlier stage dropped."""
    for row in read_rows(source.path, split=source.split, section="data"):
        if row.values.get("kept") is False:
            continue
        if plan.config.head == "scalar":
            example = _read_preference(row, columns=source.columns)
        else:
            example = read_example(
                row, columns=source.columns, answer_template=plan.config.answer_template
            )
        if source.has_thought in (None, bool(reasoning_of(example.completion))):
            yield example


def _no_rows(source: SourceSection) -> ConfigError:
    return ConfigError(f"data: {source.path} has no rows{_kind(source)}")


def _kind(source: SourceSection) -> str:
    kinds = {None: "", True: " with reasoning", False: " without reasoning"}
    return kinds[source.has_thought]


def _read_preference(row: Row, *, columns: Mapping[str, str]) -> Example:
    """Read prompt, chosen and rejected, or prompt, completion and label (0 to 1)."""
    values, where = _mapped(row, columns), row.where
    prompt = _prompt(values, where=where)
    if "chosen" in values:
        _text(values, "rejected", where=where)
        completion = _text(values, "chosen", where=where)
    else:
        completion, label = _text(values, "completion", where=where), values.get("label")
        if not isinstance(label, bool | int | float) or not 0 <= label <= 1:
            raise ConfigError(f"{where}: label is {label!r}; it must be a number from 0 to 1")
    return Example(prompt=prompt, completion=completion, where=where, columns=values)


def _mapped(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    values = dict(row.values)
    for name, file_column in columns.items():
        if file_column not in row.values:
            raise _missing(row.values, file_column, where=row.where)
        values[name] = row.values[file_column]
    return values


def _parts(
    values: Mapping[str, Any], *, where: str, answer_template: str
) -> tuple[Prompt | None, str]:
    if isinstance(values.get("text"), str):
        return None, values["text"]
    if "messages" in values:
        return _conversation(values["messages"], where=where, answer_template=answer_template)
    if "instruction" in values and "prompt" not in values:
        lines = [_text(values, "instruction", where=where), values.get("input") or ""]
        prompt = "\n".join(line for line in lines if line)
        return prompt, _text(values, "output", where=where)
    if values.get("completion") is not None:
        return _prompt(values, where=where), _text(values, "completion", where=where)
    if "prompt" in values and "content" in values:
        answer = _answer(values, where=where, answer_template=answer_template)
        return _prompt(values, where=where), answer
    if "prompt" in values:
        raise _missing(values, "completion", where=where)
    names = ", ".join(sorted(values))
    raise ConfigError(f"{where}: the row has {names}; a training row has {FORMS}")


def _conversation(messages: Any, *, where: str, answer_template: str) -> tuple[Prompt, str]:
    is_list = isinstance(messages, list) and all(isinstance(m, dict) for m in messages)
    if not is_list or len(messages) < 2 or messages[-1].get("role") != "assistant":
        raise ConfigError(
            f"{where}: messages must be a list of two or more with role and content, and the last "
            "must be the assistant's"
        )
    history = [{key: _text(m, key, where=where) for key in ("role", "content")} for m in messages]
    return history[:-1], _answer(messages[-1], where=where, answer_template=answer_template)


def _answer(values: Mapping[str, Any], *, where: str, answer_template: str) -> str:
    """Return reasoning and answer as one text, the answer if there is no reasoning, or ""."""
    if not values.get("content"):
        return ""
    if not (values.get("reasoning_content") or "").strip():
        return _text(values, "content", where=where)
    return PLACEHOLDER.sub(lambda match: _text(values, match[1], where=where), answer_template)


def _prompt(values: Mapping[str, Any], *, where: str) -> Prompt:
    prompt = values.get("prompt")
    if isinstance(prompt, list) and prompt:
        return [{"role": m["role"], "content": m["content"]} for m in prompt]
    return _text(values, "prompt", where=where)


def _text(values: Mapping[str, Any], name: str, *, where: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise _missing(values, name, where=where)
    return value


def _missing(values: Mapping[str, Any], name: str, *, where: str) -> ConfigError:
    names = ", ".join(sorted(map(str, values)))
    return ConfigError(f"{where}: no text under {name!r}; the row has {names}")
