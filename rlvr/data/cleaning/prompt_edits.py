# ruff: noqa: RUF001 - Chinese punctuation is meant
"""Edit the prompt of a sample: layout, system message, caption, distractors."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.data.samples import language_of, steps_of

__all__ = ["lay_out", "numbered", "with_caption", "with_distractors", "with_system"]

REQUIREMENTS = {"zh": "推理要求：", "en": "Requirements: "}
CAPTION = {"zh": "图片说明：", "en": "Image description: "}
DISTRACTORS = {
    "en": (
        "The town library has {n} windows.",
        "A neighbour's dog is {n} years old.",
        "Last week it rained for {n} hours.",
        "The bus to the market carries {n} people.",
        "A report says that {n} of 100 people prefer tea.",
    ),
    "zh": (
        "镇上的图书馆有{n}扇窗户。",
        "邻居家的狗今年{n}岁。",
        "上周一共下了{n}个小时的雨。",
        "去集市的公交车上坐了{n}个人。",
        "有报告说每100人中有{n}人更喜欢喝茶。",
    ),
}
MAX_NUMBER = 60  # in a distractor

# after the mark that ends a sentence; a decimal point ends none
_SENTENCE_END = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+(?=\S)")

Sample = Mapping[str, Any]


def lay_out(sample: Sample) -> dict[str, Any]:
    """Make the prompt of context and task_desc, if any, and the reasoning of the numbered steps."""
    context, task = (str(sample.get(name) or "").strip() for name in ("context", "task_desc"))
    requirements = f"{REQUIREMENTS[_language(sample)]}{task}" if task else ""
    prompt = "\n\n".join(part for part in (context, requirements) if part)
    edited = {**sample, "reasoning_content": numbered(steps_of(sample))}
    if prompt:
        edited["prompt"] = prompt
    if "content" not in sample and "answer" in sample:
        edited["content"] = str(sample["answer"])
    edited.pop("completion", None)  # it has the old reasoning
    return edited


def numbered(steps: Sequence[str]) -> str:
    """`numbered(["add", "halve"]) == "1. add\\n2. halve"`."""
    return "\n".join(f"{number}. {step.strip()}" for number, step in enumerate(steps, start=1))


def with_system(sample: Sample, systems: Mapping[str, str]) -> dict[str, Any]:
    """Set the system message to that of the sample's domain, else to that of "other", if any."""
    text = systems.get(str(sample.get("domain")), systems.get("other"))
    prompt = sample.get("prompt")
    if text is None or prompt is None:
        return dict(sample)
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    messages = [message for message in messages if message["role"] != "system"]
    return {**sample, "prompt": [{"role": "system", "content": text}, *messages]}


def with_caption(sample: Sample, column: str) -> dict[str, Any]:
    """Append an image's description to a text prompt; a sample without one is unchanged."""
    caption, prompt = sample.get(column), sample.get("prompt")
    if not isinstance(caption, str) or not caption.strip() or not isinstance(prompt, str):
        return dict(sample)
    return {**sample, "prompt": f"{prompt}\n\n{CAPTION[_language(sample)]}{caption.strip()}"}


def with_distractors(sample: Sample, *, id: str, seed: int, count: int = 1) -> dict[str, Any]:
    """Insert `count` true-sounding sentences with irrelevant numbers into the question.

    They are drawn by seed and id and inserted before the last sentence, which asks; the gold answer
    is unaffected. Adds `distractors` and `has_distractor`, False for a sample without text.
    """
    column = "context" if isinstance(sample.get("context"), str) else "prompt"
    text = sample.get(column)
    if not isinstance(text, str) or not text.strip():
        return {**sample, "has_distractor": False}
    rng = random.Random(hashlib.sha256(f"{seed}:{id}".encode()).digest())
    language = _language(sample)
    templates = rng.sample(DISTRACTORS[language], min(count, len(DISTRACTORS[language])))
    distractors = [template.format(n=rng.randint(2, MAX_NUMBER)) for template in templates]
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence]
    for distractor in distractors:
        sentences.insert(rng.randrange(len(sentences)), distractor)
    edited = ("" if language == "zh" else " ").join(sentences)
    return {**sample, column: edited, "has_distractor": True, "distractors": distractors}


def _language(sample: Sample) -> str:
    return "zh" if language_of(sample).startswith("zh") else "en"
