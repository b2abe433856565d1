# ruff: noqa: RUF001 - Chinese punctuation is meant
"""From context, task and steps to a prompt and a trace, row by row; and what else a prompt gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.data.cleaning.row_text import language_of, steps_of
from rlvr.data.cleaning.thought_steps import numbered

__all__ = ["lay_out", "with_caption", "with_system"]

REQUIREMENTS = {"zh": "推理要求：", "en": "Requirements: "}
CAPTION = {"zh": "图片说明：", "en": "Image description: "}

Row = dict[str, Any]


def lay_out(row: Mapping[str, Any]) -> Row:
    """The prompt is the context and what is asked for, the thought the numbered steps.

    A row without context and task keeps its prompt.
    """
    language = _written_language(row)
    context, task = str(row.get("context") or "").strip(), str(row.get("task_desc") or "").strip()
    asked = f"{REQUIREMENTS[language]}{task}" if task else ""
    prompt = "\n\n".join(part for part in (context, asked) if part)
    laid_out = {**row, "reasoning_content": numbered(steps_of(row))}
    if prompt:
        laid_out["prompt"] = prompt
    if "content" not in row and "answer" in row:
        laid_out["content"] = str(row["answer"])
    laid_out.pop("completion", None)  # it is no longer what is to be learned
    return laid_out


def with_system(row: Mapping[str, Any], systems: Mapping[str, str]) -> Row:
    """The prompt as messages, led by the text for the row's domain, or that for "other", if any."""
    text = systems.get(str(row.get("domain")), systems.get("other"))
    prompt = row.get("prompt")
    if text is None or prompt is None:
        return dict(row)
    said = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    said = [message for message in said if message["role"] != "system"]
    return {**row, "prompt": [{"role": "system", "content": text}, *said]}


def with_caption(row: Mapping[str, Any], column: str) -> Row:
    """What an image shows, as text behind the prompt; a row without that text stays as it is."""
    caption, prompt = row.get(column), row.get("prompt")
    if not isinstance(caption, str) or not caption.strip() or not isinstance(prompt, str):
        return dict(row)
    told = f"{CAPTION[_written_language(row)]}{caption.strip()}"
    return {**row, "prompt": f"{prompt}\n\n{told}"}


def _written_language(row: Mapping[str, Any]) -> str:
    return "zh" if language_of(row).startswith("zh") else "en"
