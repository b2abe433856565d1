"""From the columns of a known data set to a task: one function and one line in `ADAPTERS` for each.

An adapter's function takes the mapped columns and gives them back with `prompt` and with what
rewards are called with; where the gold cannot be read it raises UnreadableRow, and the row is left
out and named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.math.extract import last_boxed
from rlvr.data.tasks.columns import UnreadableRow, Values
from rlvr.data.tasks.program_sets import read_humaneval, read_livecodebench
from rlvr.data.tasks.question_sets import read_aime, read_cmath, read_gpqa, read_svamp

__all__ = ["ADAPTERS", "Adapter", "UnreadableRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """How rows of one kind become tasks."""

    read: Callable[[Values], Values]
    columns: Sequence[Mapping[str, str]]  # name -> column; the first that fits the first row
    droppable: frozenset[str] = frozenset()  # names that a recipe may map to no column
    path: str | None = None  # the `datasets` name where the recipe gives no path


def read_generic(values: Values) -> Values:
    """Prompt and answer as they stand; a number becomes its text."""
    return {**values, "answer": _answer_text(values["answer"])} if "answer" in values else values


def read_gsm8k(values: Values) -> Values:
    """GSM8K (Cobbe et al. 2021): the gold follows the last "####"; thousands commas go."""
    _, mark, gold = str(values["answer"]).rpartition("####")
    gold = gold.strip().replace(",", "").removeprefix("$")
    if not mark or re.fullmatch(r"-?\d+(\.\d+)?", gold) is None:
        raise UnreadableRow("the answer does not end in '#### NUMBER'")
    return {**values, "answer": gold}


def read_math(values: Values) -> Values:
    """MATH (Hendrycks et al. 2021): the answer, or a solution whose last box is the answer."""
    if "answer" in values:
        answer = _answer_text(values["answer"])
        return {**values, "answer": last_boxed(answer) or answer}
    gold = last_boxed(str(values["solution"]))
    if not gold:
        raise UnreadableRow(r"the solution has no \boxed{} with something in it")
    return {**values, "answer": gold}


def read_countdown(values: Values) -> Values:
    """Countdown in TinyZero's manner; `answer` is a stored solution, where the rows have one."""
    numbers, target = values["numbers"], values["target"]
    if not isinstance(numbers, list) or not numbers or not all(map(_is_int, [*numbers, target])):
        raise UnreadableRow(f"numbers {numbers!r} or target {target!r} are not integers")
    prompt = (
        f"Here are the numbers {', '.join(map(str, numbers))}. Combine them into an arithmetic "
        f"expression whose value is {target}. Only +, -, *, / and parentheses may be used, and "
        "each of the numbers must occur exactly once. Work it out within <think> </think>, then "
        "give the finished expression alone within <answer> </answer>, for example "
        "<answer>(1 + 2) / 3</answer>."
    )
    return {"prompt": prompt, **values}  # a prompt of the user's own stands


def read_code(values: Values) -> Values:
    """Prompt and tests as `passes_tests` takes them, perhaps with a reference `solution`."""
    tests = values["tests"]
    if not tests or not isinstance(tests, str | Mapping):
        raise UnreadableRow("the tests are neither text nor an object, or empty")
    return {**values, "tests": tests if isinstance(tests, str) else json.dumps(tests)}


def read_mbpp(values: Values) -> Values:
    """MBPP (Austin et al. 2021). The first assert tells the name and the form; the others stay
    hidden, so that a program that knows only the one it was shown is not right.
    """
    asserts = values["asserts"]
    if not isinstance(asserts, list) or len(asserts) < 2:
        raise UnreadableRow("fewer than two asserts: none would be hidden")
    setup = values.get("setup") or ""
    tests = {
        "asserts": asserts,
        "setup": "\n".join(setup) if isinstance(setup, list) else setup,
    }
    prompt = (
        f"{str(values['prompt']).strip()}\nWrite it in Python, in one code block. "
        f"For example, this must hold:\n{asserts[0]}"
    )
    return {"prompt": prompt, "tests": json.dumps(tests), "solution": values.get("solution")}


def _aime(path: str) -> Adapter:
    """One name for each year; the files do not agree on the names of their columns."""
    return Adapter(
        read=read_aime,
        columns=(
            {"prompt": "problem", "answer": "answer"},
            {"prompt": "Problem", "answer": "Answer"},
            {"prompt": "question", "answer": "answer"},
        ),
        path=path,
    )


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
            _mbpp_columns("prompt", "test_imports"),  # the sanitized part
            _mbpp_columns("text", "test_setup_code"),  # all of it
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


def _answer_text(answer: Any) -> Any:
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        raise UnreadableRow("the answer is empty")
    if isinstance(answer, float) and answer.is_integer():
        return str(int(answer))
    return str(answer) if isinstance(answer, int | float) else answer


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
