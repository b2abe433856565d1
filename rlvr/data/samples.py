# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Samples: completions as rows of training data, the common form of the stages.

    {"id": "gsm8k/7#0", "task_id": "gsm8k/7", "prompt": text or messages,
     "reasoning_content": text or null, "content": the answer, "completion": both as generated,
     "scores": {reward: value}, ...}

The readers also accept the columns of other data sets:

    question   context and task_desc, or prompt, or messages
    reasoning  reasoning_content, or steps, or the tags in completion
    answer     content, or the rest of completion, or answer

Reasoning is split into steps by step markers, else numbers, else bullets, else paragraphs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rewards.shaping.words import Script, sentences
from rlvr.data.reasoning_tags import Parts, split_reasoning
from rlvr.types import Prompt, Rollout, Task

__all__ = [
    "answer_of",
    "completion_of",
    "language_of",
    "last_turn",
    "question_of",
    "reasoning_of",
    "sample_row",
    "split_steps",
    "steps_of",
]

Sample = Mapping[str, Any]

_NUMBER = r"[\d一二三四五六七八九十]{1,3}"
_MARKERS = (
    re.compile(
        rf"\bStep\s?\d{{1,3}}\s?[:.)]|步骤\s?{_NUMBER}\s?[:：.、，,]?|第{_NUMBER}步\s?[:：，,、]?"
    ),
    re.compile(
        r"^[ \t]{0,8}(?:\d{1,3}[.)、．](?!\d)|[（(]\d{1,3}[)）]|[一二三四五六七八九十]{1,3}、)",
        re.MULTILINE,
    ),
    re.compile(r"^[ \t]{0,8}[-*•](?![-*])[ \t]", re.MULTILINE),
)
_PARAGRAPH = re.compile(r"\n\s*\n")


def sample_row(
    task: Task, rollout: Rollout, *, number: int, think_prefilled: bool
) -> dict[str, Any]:
    """Return the row of a task's completion `number`, with the columns of the task."""
    completion, reward = rollout.completion, rollout.reward
    reasoning, content = split_reasoning(completion.text, think_prefilled=think_prefilled)
    return {
        **{name: value for name, value in task.columns.items() if _is_json(value)},
        "id": f"{task.id}#{number}",
        "task_id": task.id,
        "prompt": task.prompt,
        "reasoning_content": reasoning,
        "content": content,
        "completion": completion.text,
        "think_prefilled": think_prefilled,
        "num_tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason.value,
        "scores": reward.values,
        "reasons": reward.reasons,
    }


def _is_json(value: Any) -> bool:
    """Whether JSON can hold a value; not so the bytes and dates of some data sets."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | float)


def question_of(sample: Sample) -> str:
    """Return the question; for a conversation, the text of all user turns."""
    parts = [sample.get("context"), sample.get("task_desc")]
    if not any(isinstance(part, str) for part in parts):
        prompt = sample.get("prompt", sample.get("messages"))
        turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        parts = [turn.get("content") for turn in turns if turn.get("role") == "user"]
    return "\n".join(part for part in parts if isinstance(part, str))


def reasoning_of(sample: Sample) -> str:
    """Return the reasoning; "" if there is none."""
    if isinstance(sample.get("reasoning_content"), str):
        return str(sample["reasoning_content"])
    if isinstance(sample.get("steps"), list):
        return "\n".join(str(step) for step in sample["steps"])
    return _parts(sample).thought or ""


def steps_of(sample: Sample) -> list[str]:
    """Return the `steps` of a sample, by default those of its reasoning."""
    steps = sample.get("steps")
    if isinstance(steps, list):
        return [str(step) for step in steps]
    return split_steps(reasoning_of(sample))


def split_steps(text: str) -> list[str]:
    """Return the non-empty steps without their markers; the text before the first is dropped.

    Two markers of one kind make a list, and markers of a lower kind within a step are part of it.
    split_steps("Step 1: add. Step 2: halve.") == ["add.", "halve."]
    """
    splits = (marker.split(text) for marker in _MARKERS)
    steps = next((pieces[1:] for pieces in splits if len(pieces) > 2), _PARAGRAPH.split(text))
    return [step.strip() for step in steps if step.strip()]


def answer_of(sample: Sample) -> str:
    """Return the text after the reasoning; "" if there is none."""
    if isinstance(sample.get("content"), str):
        return str(sample["content"])
    return _parts(sample).answer or str(sample.get("answer") or "")


def completion_of(sample: Sample) -> object:
    """Return the completion as rewards take it: the generated text, or a message."""
    if isinstance(sample.get("completion"), str):
        return sample["completion"]
    return {"content": answer_of(sample), "reasoning_content": reasoning_of(sample)}


def last_turn(prompt: Prompt) -> str:
    """Return a prompt's text, or the last message of a conversation."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def language_of(sample: Sample) -> str:
    """Return `language`, by default zh if most words of the question are Han characters, or en."""
    if isinstance(sample.get("language"), str):
        return str(sample["language"])
    words = [word for sentence in sentences(question_of(sample)) for word in sentence]
    num_han = sum(word.script is Script.HAN for word in words)
    return "zh" if num_han * 2 > len(words) else "en"


def _parts(sample: Sample) -> Parts:
    completion = sample.get("completion")
    if not isinstance(completion, str):
        return Parts(None, "")
    return split_reasoning(completion, think_prefilled=bool(sample.get("think_prefilled")))
