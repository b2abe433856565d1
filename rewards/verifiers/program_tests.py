r"""`passes_tests`: 1 where the program in a completion passes its tests in the sandbox, else 0.

    completion --after reasoning, inside <answer>--> last fenced block --sandbox.judge--> verdict

The tests of a row, a mapping or its JSON text:

    {"cases": [{"input": "21", "output": "42"}, ...]}              stdin and stdout
    {"cases": [{"args": [1], "output": 2}, ...], "function": "f"}  calls
    {"inputs": ["21"], "outputs": ["42"]}                          as in CodeContests
    {"asserts": ["assert f(1) == 2"], "setup": "import math"}      as in MBPP

each with optional "language", "compare" (a name, or {"code", "language"} of a checker), "tolerance"
and "limits" as for `sandbox.judge`. JSON has neither tuples nor sets: `text_of_tests` encodes them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rewards.base import Grade, Outcome, check_flag, one_each, reward
from rewards.math.extract import answer_part
from rewards.transcript import Turn, as_turns
from sandbox import Checker, Judgement, Limits, Verdict, from_asserts, judge
from sandbox.literals import decode, encode

__all__ = ["grade_tests", "last_code_block", "passes_tests", "text_of_tests"]

_KINDS = ({"cases"}, {"inputs", "outputs"}, {"asserts"})
_OPTIONS = {"function", "language", "compare", "tolerance", "limits", "setup", "literals"}
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n`]*$", re.MULTILINE)


@reward(
    columns=("tests",), options=("partial",), uses_sandbox=True, check_options=check_flag("partial")
)
def passes_tests(
    completions: Sequence[object],
    tests: Sequence[Mapping[str, Any] | str],
    *,
    partial: bool = False,
    prompts: Sequence[object] | None = None,
    think_prefilled: bool | Sequence[bool] | None = None,
    **columns: object,
) -> list[Grade]:
    """Reward 1 where all tests pass, else 0 or, with `partial`, the share that passes.

    None where a row's tests cannot be read, or the sandbox failed.

    Raises:
        SandboxUnavailable: this machine has no isolation, or lacks a compiler.
    """

    def grade(turn: tuple[Turn, bool], row: Mapping[str, Any] | str) -> Grade:
        return _grade(*turn, row, partial)

    turns = as_turns(completions, think_prefilled, prompts)
    rows = one_each("tests", tests, len(completions))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(grade, turns, rows))


def grade_tests(
    completion: object,
    tests: Mapping[str, Any] | str,
    *,
    partial: bool = False,
    think_prefilled: bool = False,
) -> Grade:
    """Return the grade of one completion by `passes_tests`, with the verdict as its reason."""
    return passes_tests.grades(
        [completion], [tests], partial=partial, think_prefilled=think_prefilled
    )[0]


def last_code_block(text: str) -> str | None:
    """Return the content of the last fenced block; None without one, or if it is not closed."""
    start, fence, block = 0, "", None
    for line in _FENCE.finditer(text):
        mark = line.group(1)
        if not fence:
            start, fence, block = line.end() + 1, mark, None
        elif mark[0] == fence[0] and len(mark) >= len(fence) and line.group().strip() == mark:
            fence, block = "", text[start : line.start()]
    return block


def text_of_tests(tests: Mapping[str, Any]) -> str:
    """Return JSON text for a dataset column that keeps tuples, sets and keys that are not text."""
    cases = [
        {key: encode(value) if key in ("args", "output") else value for key, value in case.items()}
        for case in tests["cases"]
    ]
    return json.dumps({**tests, "cases": cases, "literals": True})


def _grade(turn: Turn, think_prefilled: bool, row: Mapping[str, Any] | str, partial: bool) -> Grade:
    try:
        arguments = _read_tests(row)
    except (TypeError, ValueError, KeyError) as error:
        return Grade.of(Outcome.UNGRADABLE_GOLD, f"the tests cannot be read: {error}")
    part = answer_part(turn, think_prefilled)
    if isinstance(part, Grade):
        return part
    code = last_code_block(part[0])
    if code is None or not code.strip():
        return Grade.of(Outcome.NO_ANSWER, "no complete code block after the reasoning")
    try:
        judgement = judge(code, **arguments, stop_early=not partial)
    except ValueError as error:
        return Grade.of(Outcome.UNGRADABLE_GOLD, f"the tests cannot be used: {error}")
    return _judgement_grade(judgement, len(arguments["cases"]), partial=partial)


def _read_tests(row: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the arguments of `sandbox.judge`."""
    tests = json.loads(row) if isinstance(row, str) else dict(row)
    if not isinstance(tests, dict) or not any(kind <= set(tests) for kind in _KINDS):
        raise ValueError("neither cases, nor inputs and outputs, nor asserts")
    kind = next(kind for kind in _KINDS if kind <= set(tests))
    if unknown := set(tests) - kind - _OPTIONS:
        raise ValueError(f"unknown keys {', '.join(sorted(map(str, unknown)))}")
    arguments = {key: tests[key] for key in ("function", "language", "tolerance") if key in tests}
    arguments["cases"] = _read_cases(tests)
    if (compare := tests.get("compare")) is not None:
        arguments["compare"] = Checker(**compare) if isinstance(compare, dict) else compare
    if (limits := tests.get("limits")) is not None:
        arguments["limits"] = Limits(**limits)
    return arguments


def _read_cases(tests: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "asserts" in tests:
        return from_asserts(
            tests["asserts"], setup=tests.get("setup", ""), function=tests.get("function")
        )
    if "inputs" in tests:
        pairs = zip(tests["inputs"], tests["outputs"], strict=True)
        return [{"input": given, "output": expected} for given, expected in pairs]
    cases = [dict(case) for case in tests["cases"]]
    if tests.get("literals"):
        for case in cases:
            case.update({key: decode(case[key]) for key in ("args", "output") if key in case})
    return cases


def _judgement_grade(judgement: Judgement, num_cases: int, *, partial: bool) -> Grade:
    verdicts = [case.verdict for case in judgement.cases]
    if judgement.verdict is Verdict.ACCEPTED:
        return Grade.of(Outcome.CORRECT, f"all {num_cases} tests pass")
    reason = f"{judgement.verdict}: {judgement.reason}"
    if judgement.verdict is Verdict.INTERNAL_ERROR:
        return Grade.of(Outcome.ERROR, reason)
    if not partial:
        return Grade.of(Outcome.WRONG, reason)
    if Verdict.INTERNAL_ERROR in verdicts:
        return Grade.of(Outcome.ERROR, f"a test could not be run; {reason}")
    passed = verdicts.count(Verdict.ACCEPTED)
    reason = f"{passed} of {num_cases} tests pass; {reason}"
    return Grade(value=passed / num_cases, outcome=Outcome.WRONG, reason=reason)
