"""The registry of known data sets: reader, columns and default path, one entry per name.

A reader maps the columns of a row to `prompt` and the arguments of rewards; it raises UnreadableRow
for an unreadable gold answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.data.tasks import program_sets, question_sets

__all__ = ["ADAPTERS", "Adapter"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """Columns of a data set and the function that reads them."""

    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    columns: Sequence[Mapping[str, str]]  # name -> column; the first that fits the first row
    path: str | None = None  # the default `datasets` name
    droppable: frozenset[str] = frozenset()  # names that a recipe may map to no column


_AIME_COLUMNS = (  # they differ between the files
    dict(prompt="problem", answer="answer"),
    dict(prompt="Problem", answer="Answer"),
    dict(prompt="question", answer="answer"),
)
_MBPP = dict(asserts="test_list", solution="code")
_GPQA_WRONG = {f"wrong_{i}": f"Incorrect Answer {i}" for i in (1, 2, 3)}

ADAPTERS: dict[str, Adapter] = {
    "aime24": Adapter(question_sets.read_aime, _AIME_COLUMNS, "HuggingFaceH4/aime_2024"),
    "aime25": Adapter(question_sets.read_aime, _AIME_COLUMNS, "MathArena/aime_2025"),
    "cmath": Adapter(
        question_sets.read_cmath,
        (dict(prompt="input", answer="golden"), dict(prompt="question", answer="golden")),
        "weitianwen/cmath",
    ),
    "code": Adapter(
        program_sets.read_code,
        (
            dict(prompt="prompt", tests="tests", solution="solution"),
            dict(prompt="prompt", tests="tests"),
        ),
        droppable=frozenset({"solution"}),
    ),
    "countdown": Adapter(
        question_sets.read_countdown,
        (
            dict(numbers="nums", target="target", answer="solution"),
            dict(numbers="nums", target="target"),
        ),
        "Jiayi-Pan/Countdown-Tasks-3to4",
    ),
    "gsm8k": Adapter(
        question_sets.read_gsm8k, (dict(prompt="question", answer="answer"),), "openai/gsm8k:main"
    ),
    "gpqa": Adapter(
        question_sets.read_gpqa,
        (dict(prompt="Question", right="Correct Answer", **_GPQA_WRONG),),
        "Idavidrein/gpqa:gpqa_diamond",
    ),
    "humaneval": Adapter(
        program_sets.read_humaneval,
        (
            dict(
                prompt="prompt",
                test="test",
                entry_point="entry_point",
                solution="canonical_solution",
            ),
        ),
        "openai/openai_humaneval",
        droppable=frozenset({"solution"}),
    ),
    "jsonl": Adapter(
        question_sets.read_generic,
        (dict(prompt="prompt", answer="answer"),),
        droppable=frozenset({"answer"}),
    ),
    "livecodebench": Adapter(
        program_sets.read_livecodebench,
        (
            dict(
                prompt="question_content",
                public="public_test_cases",
                private="private_test_cases",
                starter="starter_code",
            ),
        ),
        "livecodebench/code_generation_lite",
    ),
    "mbpp": Adapter(
        program_sets.read_mbpp,
        (
            dict(prompt="prompt", setup="test_imports", **_MBPP),  # the sanitized configuration
            dict(prompt="text", setup="test_setup_code", **_MBPP),  # the full one
        ),
        "google-research-datasets/mbpp:sanitized",
    ),
    "math": Adapter(
        question_sets.read_math,
        (dict(prompt="problem", answer="answer"), dict(prompt="problem", solution="solution")),
        "DigitalLearningGmbH/MATH-lighteval",
    ),
    "svamp": Adapter(
        question_sets.read_svamp,
        (dict(body="Body", prompt="Question", answer="Answer"),),
        "ChilleD/SVAMP",
    ),
}
