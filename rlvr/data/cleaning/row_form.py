"""Has a row what reasoning data is made of? One reason that names the column, or None.

    {"context": text, "task_desc": text, "steps": [text, ...], "answer": text or number,
     "domain": text, "messages": [{"role": "user", "content": text}, ...]}

A row needs a question and an answer, in these columns or in those of the trace rows (prompt,
reasoning_content, content); what it has must be of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.data.cleaning.row_text import answer_of, question_of

__all__ = ["wrong_form"]

TEXTS = ("context", "task_desc", "domain", "reasoning_content", "content", "language")
ROLES = ("system", "user", "assistant")


def wrong_form(row: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong, e.g. "form: steps[2] is a number, not text"."""
    for name in TEXTS:
        if not isinstance(row.get(name, ""), str | None):
            return f"form: {name} is {_kind(row[name])}, not text"
    if not isinstance(row.get("answer", ""), str | int | float | None):
        return f"form: answer is {_kind(row['answer'])}, neither text nor a number"
    if "steps" in row and (reason := _wrong_steps(row["steps"])):
        return f"form: {reason}"
    for name in ("messages", "prompt"):
        if isinstance(row.get(name), list) and (reason := _wrong_messages(name, row[name])):
            return f"form: {reason}"
    if not question_of(row).strip():
        return "form: no question: neither context, task_desc, prompt nor messages has text"
    return (
        None if answer_of(row).strip() else "form: no answer: neither answer nor content has text"
    )


def _wrong_steps(steps: Any) -> str | None:
    if not isinstance(steps, list):
        return f"steps is {_kind(steps)}, not a list"
    for i, step in enumerate(steps):
        if not isinstance(step, str) or not step.strip():
            return f"steps[{i}] is {_kind(step)}, not text"
    return None


def _wrong_messages(name: str, messages: list[Any]) -> str | None:
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            return f"{name}[{i}] has no role of {', '.join(ROLES)}"
        if not isinstance(message.get("content"), str):
            return f"{name}[{i}].content is {_kind(message.get('content'))}, not text"
    return None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "empty"
    kinds = {bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "an object")
