"""Programs in completions, run against their tests in the sandbox."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rewards import Outcome, grade_tests, passes_tests
from rewards.verifiers.program_tests import last_code_block, text_of_tests

CONTESTS = Path(__file__).parents[3] / "shared/data/code_contests/dev_60.jsonl.gz"
DOUBLE = {"cases": [{"input": "21", "output": "42"}, {"input": "0", "output": "0"}]}
GOOD = "<think>Twice.</think>\n```python\nprint(int(input()) * 2)\n```"


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("no code", None),
        ("```\na\n```", "a\n"),
        ("```python\na\n```\nthen\n```py\nb\n```\nend", "b\n"),
        ("```python\na\n```\n```python\nb", None),
        ("````\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("~~~\na\n~~~", "a\n"),
        ("`a`", None),
        ("```\n```", ""),
        ("  ```python\n  a\n  ```", "  a\n"),
        ("x = '```'\n```\na\n```", "a\n"),
    ],
)
def test_the_last_whole_block_is_the_program(text: str, block: str | None) -> None:
    assert last_code_block(text) == block


@pytest.mark.parametrize(
    ("completion", "value", "outcome", "reason"),
    [
        (GOOD, 1.0, Outcome.CORRECT, "all 2 tests pass"),
        (fenced("print(42)"), 0.0, Outcome.WRONG, "wrong_answer: case 1"),
        (fenced("1 / 0"), 0.0, Outcome.WRONG, "runtime_error: case 0"),
        (fenced("import os; os._exit(0)"), 0.0, Outcome.WRONG, "wrong_answer"),
        (fenced("print("), 0.0, Outcome.WRONG, "compile_error"),
        ("<think>```\nprint(1)\n```", 0.0, Outcome.TRUNCATED, "never closed"),
        ("<think>a</think> The answer is 42.", 0.0, Outcome.NO_ANSWER, "no complete code block"),
        ("```python\n \n```", 0.0, Outcome.NO_ANSWER, "no complete code block"),
        (f"<answer>{fenced('print(int(input())*2)')}</answer> x", 1.0, Outcome.CORRECT, ""),
    ],
)
def test_a_completion_has_a_value_an_outcome_and_a_reason(
    completion: str, value: float, outcome: Outcome, reason: str
) -> None:
    grade = grade_tests(completion, DOUBLE)
    assert (grade.value, grade.outcome) == (value, outcome)
    assert reason in grade.reason


def test_a_part_of_the_tests_counts_only_where_that_is_wanted() -> None:
    tests = {
        "cases": [*DOUBLE["cases"], {"input": "1", "output": "3"}, {"input": "2", "output": "4"}]
    }
    assert grade_tests(GOOD, tests).value == 0.0
    grade = grade_tests(GOOD, tests, partial=True)
    assert grade.value == 0.75
    assert grade.reason.startswith("3 of 4 tests pass; wrong_answer: case 2")


@pytest.mark.parametrize(
    "tests",
    [
        {"inputs": ["21"], "outputs": ["42"]},
        {"cases": [{"input": "21", "output": "42.0000001"}], "compare": "floats"},
        {
            "cases": [{"input": "21", "output": ""}],
            "compare": {"code": "import sys; sys.exit(open(sys.argv[2]).read() != '42\\n')"},
        },
    ],
)
def test_tests_come_in_several_forms(tests: dict[str, Any]) -> None:
    assert grade_tests(GOOD, tests).value == 1.0
    assert grade_tests(GOOD, json.dumps(tests)).value == 1.0
    assert grade_tests(fenced("print(5)"), json.dumps(tests)).value == 0.0


def test_literals_survive_the_text_of_a_data_set() -> None:
    tests = {"cases": [{"args": [(1, {2: {3}})], "output": (1, {2: {3}})}], "function": "same"}
    assert grade_tests(fenced("def same(x): return x"), text_of_tests(tests)).value == 1.0
    assert grade_tests(fenced("def same(x): return list(x)"), text_of_tests(tests)).value == 0.0


def test_asserts_are_run_away_from_the_program() -> None:
    tests = {"asserts": ["assert f(2) == 4", "assert math.isclose(f(0.5), 1)"]}
    assert grade_tests(fenced("def f(x): return 2 * x"), tests).value == 1.0
    cheat = "class Any:\n    def __eq__(s, o): return True\ndef f(x): return Any()"
    assert grade_tests(fenced(cheat), tests).value == 0.0


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("not json", "cannot be read"),
        ("{}", "neither cases, nor inputs and outputs, nor asserts"),
        ({"cases": []}, "cases is empty"),
        ({"cases": [{"input": "1"}]}, "cases[0] has the keys input"),
        ({"cases": DOUBLE["cases"], "comparer": "x"}, "unknown keys comparer"),
        ({"cases": DOUBLE["cases"], "language": "cobol"}, "language is 'cobol'"),
        ({"cases": DOUBLE["cases"], "limits": {"cpu_s": -1}}, "cpu_s is -1"),
        ({"inputs": ["1"], "outputs": []}, "cannot be read"),
        ({"asserts": "assert f("}, "not Python"),
    ],
)
def test_tests_that_are_wrong_are_the_rows_fault(tests: Any, reason: str) -> None:
    grade = grade_tests(GOOD, tests)
    assert (grade.value, grade.outcome) == (None, Outcome.UNGRADABLE_GOLD)
    assert reason in grade.reason


def test_it_is_a_reward_in_trls_form() -> None:
    messages = [{"role": "assistant", "reasoning_content": "Twice.", "content": GOOD}]
    values = passes_tests([GOOD, messages, "nothing"], [DOUBLE] * 3, difficulty=[1, 2, 3])
    assert values == [1.0, 1.0, 0.0]
    assert passes_tests([GOOD], [DOUBLE], think_prefilled=True) == [1.0]
    with pytest.raises(ValueError, match="needs a list of 1 entries, not 2"):
        passes_tests([GOOD], [DOUBLE] * 2)


@pytest.mark.skipif(not CONTESTS.exists(), reason="CodeContests is not beside this checkout")
def test_tests_of_codecontests_are_read_and_a_wrong_program_fails_them() -> None:
    with gzip.open(CONTESTS, "rt", encoding="utf-8") as file:
        rows = [json.loads(line)["tests"] for line in file]
    assert len(rows) == 60
    values = passes_tests([fenced("print('no')")] * 60, [json.dumps(row) for row in rows])
    assert values.count(0.0) == 60
