"""Adapters of public evaluation sets, on rows in the form of each."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rewards import grade_accuracy, grade_choice, grade_tests
from rlvr.data.tasks import TaskList, open_tasks
from rlvr.types import Task

DATA = Path(__file__).parents[3].parent / "shared/data"


def source_of(name: str, tmp_path: Path, *rows: dict[str, Any]) -> TaskList:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    source = open_tasks(name, path=str(path))
    assert isinstance(source, TaskList)
    return source


def task_of(name: str, tmp_path: Path, row: dict[str, Any]) -> Task:
    return source_of(name, tmp_path, row).task(0)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("aime24", {"id": 60, "problem": "Find n.", "solution": "...", "answer": "033"}),
        ("aime24", {"ID": "2024-I-1", "Problem": "Find n.", "Solution": "...", "Answer": 33}),
        ("aime25", {"problem_idx": 1, "problem": "Find n.", "answer": 33, "problem_type": []}),
        ("aime25", {"question": "Find n.", "answer": "33"}),
    ],
)
def test_aime_has_an_integer_in_any_of_its_spellings(
    name: str, row: dict[str, Any], tmp_path: Path
) -> None:
    task = task_of(name, tmp_path, row)
    assert (task.prompt, task.columns["answer"]) == ("Find n.", "33")


def test_an_aime_row_without_an_integer_is_skipped_and_named(tmp_path: Path) -> None:
    good = {"problem": "Find n.", "answer": "7"}
    source = source_of("aime24", tmp_path, {"problem": "Find n.", "answer": "1000"}, good)
    assert [task.columns["answer"] for task in source.tasks] == ["7"]
    assert "no integer from 0 to 999" in source.skipped[0]


def gpqa_row(question: str = "Which one?") -> dict[str, Any]:
    return {
        "Question": question,
        "Correct Answer": "the right one",
        "Incorrect Answer 1": "wrong 1",
        "Incorrect Answer 2": "wrong 2",
        "Incorrect Answer 3": "wrong 3",
        "Subdomain": "Physics",
    }


def test_gpqa_shuffles_its_options_and_names_the_right_letter(tmp_path: Path) -> None:
    task = task_of("gpqa", tmp_path, gpqa_row())
    letter = task.columns["answer"]
    assert f"\n{letter}) the right one\n" in str(task.prompt)
    assert all(f") wrong {i}\n" in str(task.prompt) for i in (1, 2, 3))
    assert grade_choice(f"<think>Hm.</think>So it is.\nAnswer: {letter}", letter).value == 1.0


def test_a_gpqa_row_keeps_its_order_at_any_position(tmp_path: Path) -> None:
    rows = [gpqa_row(f"Question {i}?") for i in range(200)]
    forward = source_of("gpqa", tmp_path, *rows)
    backward = source_of("gpqa", tmp_path, *rows[::-1])
    assert [t.prompt for t in forward.tasks] == [t.prompt for t in reversed(backward.tasks)]
    letters = Counter(str(task.columns["answer"]) for task in forward.tasks)
    assert sorted(letters) == list("ABCD") and min(letters.values()) > 25  # of 50 expected


def test_a_gpqa_row_with_the_same_option_twice_is_skipped(tmp_path: Path) -> None:
    row = {**gpqa_row(), "Incorrect Answer 3": "the right one"}
    source = source_of("gpqa", tmp_path, row, gpqa_row())
    assert len(source.tasks) == 1 and "two options are the same" in source.skipped[0]


@pytest.mark.parametrize(
    ("body", "question", "prompt"),
    [
        ("Dan had $ 3", "How much is left?", "Dan had $ 3. How much is left?"),
        ("Dan had 3.", "How many?", "Dan had 3. How many?"),
        ("If Dan had 3", "how many are left?", "If Dan had 3, how many are left?"),
    ],
)
def test_svamp_joins_the_situation_and_the_question(
    body: str, question: str, prompt: str, tmp_path: Path
) -> None:
    row = {"ID": "chal-1", "Body": body, "Question": question, "Answer": 51.0, "Type": "Sum"}
    task = task_of("svamp", tmp_path, row)
    assert (task.prompt, task.columns["answer"]) == (prompt, "51")


def test_cmath_is_chinese(tmp_path: Path) -> None:
    row = {"grade": 1, "input": "还剩多少页没有看?", "golden": "9", "reasoning_step": 1}
    task = task_of("cmath", tmp_path, row)
    others = {"grade": 1, "reasoning_step": 1}
    assert task.columns == {"answer": "9", "language": "zh", **others}


@pytest.mark.parametrize(("name", "file", "count"), [("svamp", "svamp", 1000), ("cmath", "train_400", 400)])  # fmt: skip  # noqa: E501
def test_every_gold_of_the_whole_set_earns_full_reward(name: str, file: str, count: int) -> None:
    path = DATA / name / f"{file}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the data set {name} is not beside this checkout")
    source = open_tasks(name, path=str(path))
    assert source.num_tasks == count
    golds = [source.task(i).columns["answer"] for i in range(count)]
    wrong = [gold for gold in golds if grade_accuracy(rf"\boxed{{{gold}}}", gold).value != 1.0]
    assert wrong == []


HUMANEVAL = {
    "task_id": "HumanEval/32",
    "prompt": (
        "import math\n\n\ndef poly(xs: list, x: float):\n    return sum(c * x**i for i, c in "
        'enumerate(xs))\n\n\ndef find_zero(xs: list):\n    """xs are coefficients."""\n'
    ),
    "entry_point": "find_zero",
    "canonical_solution": "    return -xs[0] / xs[1]\n",
    "test": (
        "METADATA = {}\n\ndef check(candidate):\n    for xs in ([1, 2], [-6, 3]):\n"
        "        assert math.fabs(poly(xs, candidate(xs))) < 1e-4\n"
        "    assert candidate([-6, 3]) == 2\n"
    ),
}


def in_block(code: str) -> str:
    return f"<think>Hm.</think>\n```python\n{code}\n```"


def test_humaneval_has_the_helpers_of_its_prompt(tmp_path: Path) -> None:
    task = task_of("humaneval", tmp_path, HUMANEVAL)
    assert "def find_zero" in str(task.prompt)
    tests = task.columns["tests"]
    assert grade_tests(in_block(task.columns["solution"]), tests).value == 1.0
    wrong = HUMANEVAL["prompt"] + "    return 0.0\n"
    assert grade_tests(in_block(wrong), tests).value == 0.0


def lcb_row(public: Any, private: Any, starter: str = "") -> dict[str, Any]:
    return {
        "question_title": "Twice",
        "question_content": "Print twice the number.",
        "platform": "atcoder",
        "starter_code": starter,
        "public_test_cases": json.dumps(public),
        "private_test_cases": private,
        "metadata": "{}",
    }


def packed(cases: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def stdin(given: str, expected: str) -> dict[str, str]:
    return {"input": given, "output": expected, "testtype": "stdin"}


@pytest.mark.parametrize("pack", [packed, json.dumps])
def test_livecodebench_runs_public_and_private_tests(pack: Any, tmp_path: Path) -> None:
    row = lcb_row([stdin("2\n", "4\n")], pack([stdin("3\n", "6\n"), stdin("5", "10")]))
    task = task_of("livecodebench", tmp_path, row)
    tests = task.columns["tests"]
    assert len(json.loads(tests)["cases"]) == 3
    assert grade_tests(in_block("print(int(input()) * 2)"), tests).value == 1.0
    assert grade_tests(in_block("print(4)"), tests).value == 0.0  # it knows the public one alone


def test_livecodebench_calls_a_function_in_place_of_a_method(tmp_path: Path) -> None:
    starter = "class Solution:\n    def addAll(self, nums: List[int], to: int) -> int:\n        "
    calls = [{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]
    task = task_of("livecodebench", tmp_path, lcb_row(calls, packed(calls), starter))
    assert "def addAll(nums: List[int], to: int) -> int:" in str(task.prompt)
    right = "def addAll(nums, to):\n    return sum(nums) + to"
    assert grade_tests(in_block(right), task.columns["tests"]).value == 1.0


class Harmful:
    """Code that runs when a pickle is loaded."""

    def __reduce__(self) -> Any:
        return print, ("loaded",)


@pytest.mark.parametrize(
    ("private", "reason"),
    [
        (base64.b64encode(zlib.compress(pickle.dumps(Harmful()))).decode(), "should be text"),
        ("no tests", "cannot be unpacked"),
        (base64.b64encode(b"no zlib").decode(), "cannot be unpacked"),
        (packed([{"input": "1"}]), "has not input, output and testtype"),
    ],
)
def test_malformed_private_tests_are_skipped_and_run_nothing(
    private: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = lcb_row([stdin("2", "4")], packed([stdin("3", "6")]))
    source = source_of("livecodebench", tmp_path, lcb_row([stdin("2", "4")], private), good)
    assert len(source.tasks) == 1 and reason in source.skipped[0]
    assert "loaded" not in capsys.readouterr().out
