"""The toy world's programs and requests: right golds, splits that never meet, rows for training."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from rewards import grade_format, grade_language, grade_regex, passes_tests
from rlvr.toy import worked
from rlvr.toy.programs import ToyProgram, heldout_programs, program_task, train_program
from rlvr.toy.refining import readable, readable_summary
from rlvr.toy.toy_requests import ToyRequest, heldout_requests, request_task, train_request


def test_a_program_is_its_operations_in_order() -> None:
    program = ToyProgram(operations=("+3", "*2", "-4"))
    assert program.expressions == ("x+3", "(x+3)*2", "(x+3)*2-4")
    assert program.code == "def f(x):\n return (x+3)*2-4"
    assert [program.value(x) for x in (0, 5)] == [2, 12]
    assert program.prompt("en") == "Write f: x, add 3, double, take 4."
    assert program.prompt("zh") == "写f:x,加3,乘2,减4。"


def test_every_stored_solution_passes_its_tests_and_a_changed_one_does_not() -> None:
    tasks = [program_task(index) for index in range(20)] + heldout_programs(20)
    tests = [task.columns["tests"] for task in tasks]
    right = [f"```python\n{task.columns['solution']}\n```" for task in tasks]
    wrong = [text.replace("return ", "return 1+") for text in right]
    assert passes_tests(right, tests) == [1.0] * len(tasks)
    assert passes_tests(wrong, tests) == [0.0] * len(tasks)


def test_heldout_programs_are_different_and_never_trained() -> None:
    heldout = heldout_programs(128)
    asked = {str(task.prompt) for task in heldout}
    assert len({task.columns["solution"] for task in heldout}) == 128
    trained = {program_task(index).prompt for index in range(3000)}
    trained |= {row["prompt"] for row in worked.programs("0")}
    assert trained.isdisjoint(asked)
    rng = random.Random(0)
    assert not any(train_program(rng).is_heldout for _ in range(500))
    with pytest.raises(ValueError, match="allowed is 1 to 256"):
        heldout_programs(257)


def test_a_task_depends_on_its_index_and_seed_alone() -> None:
    assert program_task(3, seed=1) == program_task(3, seed=1) != program_task(3, seed=2)
    assert request_task(3, seed=1) == request_task(3, seed=1)


def test_only_the_kind_reply_is_liked() -> None:
    rng = random.Random(1)
    for _ in range(50):
        request = train_request(rng)
        pattern = request.pattern
        for manner, value in (("kind", 1.0), ("curt", 0.0), ("confused", 0.0)):
            reply = request.reply(manner, rng)  # type: ignore[arg-type]
            assert grade_regex(f"<think>so</think>{reply}", pattern).value == value, reply


def test_heldout_requests_are_never_trained() -> None:
    heldout = {str(task.prompt) for task in heldout_requests()}
    assert len(heldout) > 16
    assert len(heldout_requests(5)) == 5
    trained = {row["prompt"] for row in worked.requests("0")}
    trained |= {row["prompt"] for row in worked.preferences("0")}
    assert trained.isdisjoint(heldout)


def test_worked_rows_are_well_formed_and_in_one_language() -> None:
    for row in [*islice(worked.programs("0"), 50), *islice(worked.requests("0"), 50)]:
        assert grade_format(row["completion"], profile="r1").value == 1.0
        assert grade_language(row["completion"], row["language"]).value == 1.0


def test_pairs_differ_and_the_better_one_is_kind() -> None:
    for pair in islice(worked.preferences("0"), 100):
        assert pair["chosen"] != pair["rejected"]
        assert pair["chosen"][-1] == "!"


def test_a_readable_answer_is_a_sentence_in_the_language_of_the_question() -> None:
    thought = " <think>So 2+3=5, ok</think>"
    texts = ["The answer is \\boxed{5}.", "答案是\\boxed{5}。", "<answer>5</answer>", "\\boxed{5}"]
    completions = [thought + text for text in texts]
    assert readable_summary(completions, language=["en"] * 4) == [1.0, 0.0, 0.0, 0.0]
    assert readable_summary(completions, language=["zh"] * 4) == [0.0, 1.0, 0.0, 0.0]
    row = {"answer": "5", "language": "zh", "reasoning_content": "So 2+3=5,好"}
    made = readable(row)
    assert made is not None
    assert made["completion"] == " <think>算得2+3=5,好</think>答案是\\boxed{5}。"


def test_a_request_is_asked_by_name() -> None:
    request = ToyRequest(act="wish", names=("小明", "小红"), language="zh")
    assert request.prompt == "祝小明和小红好运。"
    swapped = ToyRequest(act="wish", names=("小红", "小明"), language="zh")
    assert request.is_heldout == swapped.is_heldout
