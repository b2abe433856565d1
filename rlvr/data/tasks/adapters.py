"""The registry of known data sets: columns and reader of each, one entry per name.

A reader maps the columns of a row to `prompt` and the arguments of rewards; it raises UnreadableRow
for an unreadable gold answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.tasks.program_sets import read_code, read_humaneval, read_livecodebench, read_mbpp
from rlvr.data.tasks.question_sets import (
    read_aime,
    read_cmath,
    read_countdown,
    read_generic,
    read_gpqa,
    read_gsm8k,
    read_math,
    read_svamp,
)

__all__ = ["ADAPTERS", "Adapter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """Columns of a data set and the function that reads them."""

    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    columns: Sequence[Mapping[str, str]]  # name -> column; the first that fits the first row
    droppable: frozenset[str] = frozenset()  # names that a recipe may map to no column
    path: str | None = None  # the default `datasets` name


def _aime(path: str) -> Adapter:
    """One name per year; the files differ in their column names."""
    columns = (
        {"prompt": "problem", "answer": "answer"},
        {"prompt": "Problem", "answer": "Answer"},
        {"prompt": "question", "answer": "answer"},
    )
    return Adapter(read=read_aime, columns=columns, path=path)


def _mbpp_columns(prompt: str, setup: str) -> Mapping[str, str]:
    return {"prompt": prompt, "setup": setup, "asserts": "test_list", "solution": "code"}


ADAPTERS: dict[str, Adapter] = {
    "aime24": _aime("HuggingFaceH4/aime_2024"),
    "aime25": _aime("MathArena/aime_2025"),
    "cmath": Adapter(
        read=read_cmath,
        columns=(
            {"prompt": "input", "answer": "golden"},
            {"prompt": "question", "answer": "golden"},
        ),
        path="weitianwen/cmath",
    ),
    "code": Adapter(
        read=read_code,
        columns=(
            {"prompt": "prompt", "tests": "tests", "solution": "solution"},
            {"prompt": "prompt", "tests": "tests"},
        ),
        droppable=frozenset({"solution"}),
    ),
    "countdown": Adapter(
        read=read_countdown,
        columns=(
            {"numbers": "nums", "target": "target", "answer": "solution"},
            {"numbers": "nums", "target": "target"},
        ),
        path="Jiayi-Pan/Countdown-Tasks-3to4",
    ),
    "gsm8k": Adapter(
        read=read_gsm8k,
        columns=({"prompt": "question", "answer": "answer"},),
        path="openai/gsm8k:main",
    ),
    "gpqa": Adapter(
        read=read_gpqa,
        columns=(
            {
                "prompt": "Question",
                "right": "Correct Answer",
                **{f"wrong_{i}": f"Incorrect Answer {i}" for i in (1, 2, 3)},
            },
        ),
        path="Idavidrein/gpqa:gpqa_diamond",
    ),
    "humaneval": Adapter(
        read=read_humaneval,
        columns=(
            {
                "prompt": "prompt",
                "test": "test",
                "entry_point": "entry_point",
                "solution": "canonical_solution",
            },
        ),
        droppable=frozenset({"solution"}),
        path="openai/openai_humaneval",
    ),
    "jsonl": Adapter(
        read=read_generic,
        columns=({"prompt": "prompt", "answer": "answer"},),
        droppable=frozenset({"answer"}),
    ),
    "livecodebench": Adapter(
        read=read_livecodebench,
        columns=(
            {
                "prompt": "question_content",
                "public": "public_test_cases",
                "private": "private_test_cases",
                "starter": "starter_code",
            },
        ),
        path="livecodebench/code_generation_lite",
    ),
    "mbpp": Adapter(
        read=read_mbpp,
        columns=(
            _mbpp_columns("prompt", "test_imports"),  # the sanitized configuration
            _mbpp_columns("text", "test_setup_code"),  # the full one
        ),
        path="google-research-datasets/mbpp:sanitized",
    ),
    "math": Adapter(
        read=read_math,
        columns=(
            {"prompt": "problem", "answer": "answer"},
            {"prompt": "problem", "solution": "solution"},
        ),
        path="DigitalLearningGmbH/MATH-lighteval",
    ),
    "svamp": Adapter(
        read=read_svamp,
        columns=({"body": "Body", "prompt": "Question", "answer": "Answer"},),
        path="ChilleD/SVAMP",
    ),
}
