"""Asserts of data sets as cases, including all of MBPP if it is available."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import Verdict, from_asserts, from_humaneval, judge

MBPP = Path(__file__).parents[3] / "shared/data/mbpp/mbpp_sanitized.jsonl.gz"
ALTERED = """
def _altered(function):
    def wrapped(*arguments, **keywords):
        value = function(*arguments, **keywords)
        if isinstance(value, bool):
            return not value
        if isinstance(value, (int, float)):
            return value * 2 + 1
        if isinstance(value, str):
            return value + "x"
        if isinstance(value, (list, tuple)):
            return value + type(value)([None])
        if isinstance(value, dict):
            return {**value, "more": 1}
        return 0 if value is None else None
    return wrapped

NAME = _altered(NAME)
"""


def test_a_call_with_literals_becomes_a_case_of_its_own() -> None:
    assert from_asserts(["assert f(1, [2]) == (3, {'a': -4})", "assert True == g()"]) == [
        {"function": "f", "args": [1, [2]], "output": (3, {"a": -4}), "compare": "equal"},
        {"function": "g", "args": [], "output": True, "compare": "equal"},
    ]


def test_is_compares_types_as_well() -> None:
    [case] = from_asserts("assert f(1) is True")
    assert case["compare"] == "json"


@pytest.mark.parametrize(
    "test",
    [
        "assert set(f([1, 2])) == {1, 2}",
        "assert f(1)",
        "assert not f(0)",
        "assert f(g(1)) == 2",
        "assert f(x=1) == 2",
        "assert math.isclose(f(1), 2.0)",
        "for i in range(3):\n    assert f(i) == i",
    ],
)
def test_everything_else_stays_a_program(test: str) -> None:
    [case] = from_asserts(test)
    assert "f" in case["functions"]
    assert "math" not in case["functions"]
    assert case["program"].endswith(test)


def test_a_function_may_be_called_like_a_built_in_one() -> None:
    [case] = from_asserts("assert sum(10, 15) == 6", function="sum")
    assert (case["function"], case["output"]) == ("sum", 6)


def test_humaneval_checks_are_taken_apart() -> None:
    test = (
        "METADATA = {}\n\ndef check(candidate):\n    '''Docs.'''\n"
        "    assert candidate([1]) == 1\n    assert abs(candidate([2]) - 2) < 1e-6\n"
    )
    first, second = from_humaneval(test, "biggest")
    assert first == {"function": "biggest", "args": [[1]], "output": 1, "compare": "equal"}
    assert second["functions"] == ["biggest"]


@pytest.mark.parametrize("test", ["def check(:", "assert x", "def check(a, b): pass"])
def test_what_is_no_check_is_refused(test: str) -> None:
    with pytest.raises(ValueError):
        from_humaneval(test, "f")


def verdict_of(code: str, test: str) -> Verdict:
    return judge(code, from_asserts(test)).verdict


def test_tests_run_away_from_the_solution_and_hold_for_a_right_one() -> None:
    test = "for i in range(3):\n    assert set(f([i, i])) == {i}"
    assert verdict_of("def f(x):\n    return x", test) is Verdict.ACCEPTED
    assert verdict_of("def f(x):\n    return [0]", test) is Verdict.WRONG_ANSWER
    assert verdict_of("def f(x):\n    raise SystemExit(0)", test) is Verdict.RUNTIME_ERROR
    assert verdict_of("import os\ndef f(x):\n    os._exit(0)", test) is Verdict.RUNTIME_ERROR
    assert verdict_of("pass", test) is Verdict.RUNTIME_ERROR


def test_an_object_of_the_solution_can_be_passed_back_to_it() -> None:
    code = "class P:\n    def __init__(s, x): s.x = x\ndef total(ps): return sum(p.x for p in ps)"
    assert verdict_of(code, "assert total([P(1), P(2)]) == 3") is Verdict.ACCEPTED
    assert verdict_of(code, "assert total([P(1), P(2)]) == 4") is Verdict.WRONG_ANSWER


def test_an_object_that_equals_everything_equals_nothing_here() -> None:
    code = (
        "class Any:\n    def __eq__(s, o): return True\n    def __len__(s): return 2\n"
        "def f(x): return Any()"
    )
    assert verdict_of(code, "assert set([f(1)]) == {5}") is Verdict.WRONG_ANSWER


def test_an_error_of_the_solution_is_seen_by_tests_that_want_it() -> None:
    test = "try:\n    f(1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError"
    assert verdict_of("def f(x):\n    raise ValueError('no')", test) is Verdict.ACCEPTED
    assert verdict_of("def f(x):\n    return 1", test) is Verdict.WRONG_ANSWER


@pytest.mark.skipif(not MBPP.exists(), reason="the MBPP data set is not beside this checkout")
def test_every_reference_of_mbpp_is_accepted_and_altered_ones_are_not() -> None:
    with gzip.open(MBPP, "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["reference_passes"]]
    assert len(rows) == 426
    wrong = [row["task_id"] for row in rows if not is_told_apart(row)]
    assert wrong == []


def is_told_apart(row: dict[str, Any]) -> bool:
    cases = from_humaneval(
        row["test"], row["entry_point"], setup="\n".join(row.get("test_imports") or [])
    )
    called = [cases[0]["function"]] if "function" in cases[0] else cases[0]["functions"]
    [name] = [name for name in called if f"def {name}" in row["code"]]
    altered = row["code"] + ALTERED.replace("NAME", name)
    return (
        judge(row["code"], cases).verdict is Verdict.ACCEPTED
        and judge(altered, cases).verdict is not Verdict.ACCEPTED
    )
