"""The registry of known data sets: reader, columns and default path, one entry per name.

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


@dataclass(frozen=True, slots=True)
class Adapter:
    """Columns of a data set and the function that reads them."""

    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    columns: Sequence[Mapping[str, str]]  # name -> column; the first that fits the first row
    path: str | None = None  # the default `datasets` name
    droppable: frozenset[str] = frozenset()  # names that a recipe may map to no column


_SOLUTION = frozenset({"solution"})
_AIME = (  # the columns differ between the files
    dict(prompt="problem", answer="answer"),
    dict(prompt="Problem", answer="Answer"),
    dict(prompt="question", answer="answer"),
)
_CMATH = tuple(dict(prompt=column, answer="golden") for column in ("input", "question"))
_CODE = dict(prompt="prompt", tests="tests")
_COUNTDOWN = dict(numbers="nums", target="target")
_GPQA_WRONG = {f"wrong_{i}": f"Incorrect Answer {i}" for i in (1, 2, 3)}
_HUMANEVAL = dict(prompt="prompt", test="test", entry_point="entry_point")
_LIVECODEBENCH = dict(
    prompt="question_content",
    public="public_test_cases",
    private="private_test_cases",
    starter="starter_code",
)
_MATH = tuple({"prompt": "problem", column: column} for column in ("answer", "solution"))
_MBPP = dict(asserts="test_list", solution="code")

ADAPTERS: dict[str, Adapter] = {
    "aime24": Adapter(read_aime, _AIME, "HuggingFaceH4/aime_2024"),
    "aime25": Adapter(read_aime, _AIME, "MathArena/aime_2025"),
    "cmath": Adapter(read_cmath, _CMATH, "weitianwen/cmath"),
    "code": Adapter(read_code, (dict(_CODE, solution="solution"), _CODE), droppable=_SOLUTION),
    "countdown": Adapter(
        read_countdown,
        (dict(_COUNTDOWN, answer="solution"), _COUNTDOWN),
        "Jiayi-Pan/Countdown-Tasks-3to4",
    ),
    "gsm8k": Adapter(read_gsm8k, (dict(prompt="question", answer="answer"),), "openai/gsm8k:main"),
    "gpqa": Adapter(
        read_gpqa,
        (dict(prompt="Question", right="Correct Answer", **_GPQA_WRONG),),
        "Idavidrein/gpqa:gpqa_diamond",
    ),
    "humaneval": Adapter(
        read_humaneval,
        (dict(_HUMANEVAL, solution="canonical_solution"),),
        "openai/openai_humaneval",
        _SOLUTION,
    ),
    "jsonl": Adapter(
        read_generic,
        (dict(prompt="prompt", answer="answer"), dict(prompt="prompt")),
        droppable=frozenset({"answer"}),
    ),
    "livecodebench": Adapter(
        read_livecodebench, (_LIVECODEBENCH,), "livecodebench/code_generation_lite"
    ),
    "mbpp": Adapter(
        read_mbpp,
        (
            dict(prompt="prompt", setup="test_imports", **_MBPP),  # the sanitized configuration
            dict(prompt="text", setup="test_setup_code", **_MBPP),  # the full one
        ),
        "google-research-datasets/mbpp:sanitized",
    ),
    "math": Adapter(read_math, _MATH, "DigitalLearningGmbH/MATH-lighteval"),
    "svamp": Adapter(
        read_svamp, (dict(body="Body", prompt="Question", answer="Answer"),), "ChilleD/SVAMP"
    ),
}
