"""From a row of any known form to what the model reads and what it is to write.

text                                learned as it is
prompt, completion                  the completion as a model wrote it
prompt, reasoning_content, content  a trace; put together by the recipe's answer_template
messages                            the last one, of the assistant, is learned
instruction, input, output          the prompt is instruction and input, on lines of their own
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr.data.rows import Row
from rlvr.errors import ConfigError
from rlvr.types import Prompt

__all__ = [
    "CLOSE_THINK",
    "OPEN_THINK",
    "Example",
    "fill",
    "read_example",
    "read_preference",
    "thought_of",
]

OPEN_THINK = "<think>"
CLOSE_THINK = "</think>"
PLACEHOLDER = re.compile(r"\{(\w+)\}")
FORMS = "text; prompt and completion; prompt and content; messages; instruction and output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row: `Example(prompt="2+3?", completion="<think>2+3=5</think>5")`."""

    prompt: Prompt | None  # before any template; None: there is only text
    completion: str  # "" where the row holds nothing to learn
    where: str  # file:line, for messages
    columns: Mapping[str, Any]


def read_example(row: Row, *, columns: Mapping[str, str], answer_template: str) -> Example:
    """Raises ConfigError (file:row): a mapped column that is not there, or no known form."""
    values = _mapped(row, columns)
    prompt, completion = _parts(values, where=row.where, answer_template=answer_template)
    return Example(prompt=prompt, completion=completion, where=row.where, columns=values)


def read_preference(row: Row, *, columns: Mapping[str, str]) -> Example:
    """For a reward model: prompt with chosen and rejected, or with completion and label (0 to 1).

    Raises ConfigError (file:row).
    """
    values = _mapped(row, columns)
    prompt = _prompt(values, where=row.where)
    if "chosen" in values:
        _text(values, "rejected", where=row.where)
        better = _text(values, "chosen", where=row.where)
        return Example(prompt=prompt, completion=better, where=row.where, columns=values)
    completion, label = _text(values, "completion", where=row.where), values.get("label")
    if isinstance(label, bool | int | float) and 0 <= label <= 1:
        return Example(prompt=prompt, completion=completion, where=row.where, columns=values)
    raise ConfigError(f"{row.where}: label is {label!r}; a number from 0 to 1 is wanted")


def thought_of(completion: str, *, think_prefilled: bool = False) -> str:
    """The text of the thought, "" where there is none; `think_prefilled`: the prompt began it."""
    head, close, _ = completion.partition(CLOSE_THINK)
    before, opened, inside = head.partition(OPEN_THINK)
    if opened:
        return inside.strip()
    return before.strip() if close or think_prefilled else ""


def fill(template: str, values: Mapping[str, Any], *, where: str) -> str:
    """A template with each {name} replaced by that column's text. Raises ConfigError."""

    def column(match: re.Match[str]) -> str:
        return _text(values, match[1], where=where)

    return PLACEHOLDER.sub(column, template)


def _mapped(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    values = dict(row.values)
    for ours, theirs in columns.items():
        if theirs not in row.values:
            raise _missing(row.values, theirs, where=row.where)
        values[ours] = row.values[theirs]
    return values


def _parts(
    values: Mapping[str, Any], *, where: str, answer_template: str
) -> tuple[Prompt | None, str]:
    if isinstance(values.get("text"), str):
        return None, values["text"]
    if "messages" in values:
        return _of_messages(values["messages"], where=where, answer_template=answer_template)
    if "instruction" in values and "prompt" not in values:
        return _instruction(values, where=where), _text(values, "output", where=where)
    if values.get("completion") is not None:
        return _prompt(values, where=where), _text(values, "completion", where=where)
    if "prompt" in values and "content" in values:
        answer = _answer(values, where=where, answer_template=answer_template)
        return _prompt(values, where=where), answer
    if "prompt" in values:
        raise _missing(values, "completion", where=where)
    there = ", ".join(sorted(values))
    raise ConfigError(f"{where}: the row has {there}; a row to learn from has {FORMS}")


def _answer(values: Mapping[str, Any], *, where: str, answer_template: str) -> str:
    """Thought and answer as one text; "" where there is no answer, the bare one without thought."""
    if not values.get("content"):
        return ""
    if not (values.get("reasoning_content") or "").strip():
        return _text(values, "content", where=where)
    return fill(answer_template, values, where=where)


def _of_messages(messages: Any, *, where: str, answer_template: str) -> tuple[Prompt, str]:
    is_list = isinstance(messages, list) and all(isinstance(m, dict) for m in messages)
    if not is_list or len(messages) < 2 or messages[-1].get("role") != "assistant":
        raise ConfigError(
            f"{where}: messages is a list of two or more with role and content, and the last is "
            "the assistant's"
        )
    for message in messages:
        _text(message, "role", where=where)
    history = [{"role": m["role"], "content": _text(m, "content", where=where)} for m in messages]
    return history[:-1], _answer(messages[-1], where=where, answer_template=answer_template)


def _instruction(values: Mapping[str, Any], *, where: str) -> str:
    lines = [_text(values, "instruction", where=where), values.get("input") or ""]
    return "\n".join(line for line in lines if line)


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
    there = ", ".join(sorted(map(str, values)))
    return ConfigError(f"{where}: no text under {name!r}; the row has {there}")
