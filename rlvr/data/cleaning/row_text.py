"""What a row says, in whichever columns it says it.

question   context and task_desc, or prompt (text or messages), or messages
thought    reasoning_content, or the tags in completion; else its steps
answer     content, or the rest of completion, or answer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewards.shaping.words import Script, sentences
from rlvr.data.cleaning.thought_steps import split_steps
from rlvr.data.reasoning_tags import split_reasoning

__all__ = ["answer_of", "completion_of", "language_of", "question_of", "steps_of", "thought_of"]

Row = Mapping[str, Any]


def question_of(row: Row) -> str:
    """All that the model is asked; of a conversation what the user says."""
    parts = [row.get("context"), row.get("task_desc")]
    if not any(isinstance(part, str) for part in parts):
        prompt = row.get("prompt", row.get("messages"))
        said = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        parts = [turn.get("content") for turn in said if turn.get("role") == "user"]
    return "\n".join(part for part in parts if isinstance(part, str))


def thought_of(row: Row) -> str:
    """Empty where there is none."""
    thought = row.get("reasoning_content")
    if isinstance(thought, str):
        return thought
    if isinstance(row.get("steps"), list):
        return "\n".join(str(step) for step in row["steps"])
    return _parts(row)[0] or ""


def answer_of(row: Row) -> str:
    """What comes after the thought; empty where there is nothing."""
    content = row.get("content")
    if isinstance(content, str):
        return content
    return _parts(row)[1] or str(row.get("answer") or "")


def completion_of(row: Row) -> object:
    """As a reward takes it: the text as it was written, or a message with its thought apart."""
    if isinstance(row.get("completion"), str):
        return row["completion"]
    return {"content": answer_of(row), "reasoning_content": thought_of(row)}


def steps_of(row: Row) -> list[str]:
    """The row's own steps, else those of its thought."""
    steps = row.get("steps")
    return (
        [str(step) for step in steps] if isinstance(steps, list) else split_steps(thought_of(row))
    )


def language_of(row: Row) -> str:
    """The row's own, else zh where most words of its question are Chinese characters, else en."""
    if isinstance(row.get("language"), str):
        return str(row["language"])
    words = [word for sentence in sentences(question_of(row)) for word in sentence]
    num_han = sum(word.script is Script.HAN for word in words)
    return "zh" if num_han * 2 > len(words) else "en"


def _parts(row: Row) -> tuple[str | None, str]:
    completion = row.get("completion")
    if not isinstance(completion, str):
        return None, ""
    return split_reasoning(completion, think_prefilled=bool(row.get("think_prefilled")))
