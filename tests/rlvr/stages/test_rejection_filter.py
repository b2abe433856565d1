"""The filters of rejection sampling and their reasons."""

from __future__ import annotations

from typing import Any

import pytest

from rlvr.data.reasoning_tags import split_reasoning
from rlvr.errors import ConfigError
from rlvr.stages.sample.sample_config import SampleConfig
from rlvr.stages.sample.sample_stage import RejectionFilter

GOOD = " <think>So 2+3=5, ok</think>The answer is \\boxed{5}."


def filter_of(*, rewrite: str | None = None, **keep: Any) -> RejectionFilter:
    return RejectionFilter(
        SampleConfig.model_validate(
            {
                "name": "n",
                "model": {"path": "x"},
                "tasks": {"source": "toy", "num_tasks": 4},
                "rewards": {"accuracy": 1.0, "think_format": 1.0},
                "keep": keep,
                "rewrite": rewrite,
            }
        )
    )


def row_of(completion: str = GOOD, *, task: str = "t/0", **values: Any) -> dict[str, Any]:
    thought, content = split_reasoning(completion)
    return {
        "id": f"{task}#0",
        "task_id": task,
        "prompt": "2+3?",
        "answer": "5",
        "language": "en",
        "completion": completion,
        "reasoning_content": thought,
        "content": content,
        "think_prefilled": False,
        "finish_reason": "stop",
        "scores": {"accuracy": 1.0, "think_format": 1.0},
        "reasons": {},
        **values,
    }


def reason_for(row: dict[str, Any], **keep: Any) -> str | None:
    ((judged,), _) = filter_of(**keep).judge([row])
    reason: str | None = judged["dropped_because"]
    assert judged["kept"] is (reason is None)
    return reason


def test_a_right_row_is_kept_as_it_is() -> None:
    rows, kept = filter_of().judge([row_of()])
    assert kept == rows == [{**row_of(), "pass_rate": 1.0, "kept": True, "dropped_because": None}]


@pytest.mark.parametrize(
    ("row", "keep", "reason"),
    [
        (
            row_of(scores={"accuracy": 0.0}, reasons={"accuracy": "6 is not 5"}),
            {},
            "accuracy: 0.0 is below 1 (6 is not 5)",
        ),
        (row_of(scores={"accuracy": None}), {}, "accuracy: None is below 1"),
        (row_of(finish_reason="length"), {}, "truncated: it ran into the token limit"),
        (row_of(" <think>So 2+3"), {}, "truncated: the thought was opened and never closed"),
        (
            row_of(" <think>算得2+3=5, ok</think>5"),
            {"one_language": 0.9},
            "language: ",
        ),
        (
            row_of(f"<think>{'a b ' * 300}</think>5"),
            {"max_paragraph_chars": 400, "max_repetition": None},
            "paragraph: 1199 characters, over 400",
        ),
        (
            row_of("<think>so\n```python\nx\n```\nit is</think>5"),
            {"code_in_thought": False},
            "code: a code block in the thought",
        ),
        (row_of(f"<think>{'wait so then ' * 60}</think>5"), {}, "repetition: rate 0.9"),
        (
            row_of(),
            {"pass_rate": [0.1, 0.9]},
            "pass_rate: 1.00 is not in [0.1, 0.9]",
        ),
    ],
)
def test_each_filter_gives_its_reason(
    row: dict[str, Any], keep: dict[str, Any], reason: str
) -> None:
    assert (reason_for(row, **keep) or "").startswith(reason)


def test_thresholds_replace_full_marks() -> None:
    row = row_of(scores={"accuracy": 0.5, "think_format": 0.0})
    assert reason_for(row, at_least={"accuracy": 0.5}) is None
    assert reason_for(row, at_least={"accuracy": 0.6}) == "accuracy: 0.5 is below 0.6"


def test_a_reward_that_does_not_apply_is_ignored() -> None:
    assert reason_for(row_of(scores={"think_format": 1.0})) is None


def test_pass_rates_are_those_of_the_task() -> None:
    wrong = {"scores": {"accuracy": 0.0}}
    rows = [row_of(task="a"), row_of("x", task="a", **wrong), row_of(task="b")]
    judged, kept = filter_of(pass_rate=[0.1, 0.9]).judge(rows)
    assert [row["pass_rate"] for row in judged] == [0.5, 0.5, 1.0]
    assert [row["task_id"] for row in kept] == ["a"]


def test_equal_completions_and_too_many_of_a_task_are_dropped() -> None:
    rows = [row_of(), row_of(), row_of(GOOD + " "), row_of(GOOD + "  "), row_of(task="b")]
    judged, kept = filter_of(per_task=2).judge(rows)
    assert [row["dropped_because"] for row in judged] == [
        None,
        "duplicate: of a completion of its task",
        None,
        "per_task: 2 of its task are kept already",
        None,
    ]
    assert len(kept) == 3
    assert len(filter_of(duplicates=True).judge(rows)[1]) == 5


def test_a_prompt_of_an_evaluation_set_is_dropped() -> None:
    heldout = {"source": "toy", "split": "heldout", "num_tasks": 8}
    sets = {"decontaminate": {"quiz": heldout}}
    from rlvr.toy.problems import heldout_tasks

    asked = str(heldout_tasks(8)[0].prompt)
    assert reason_for(row_of(prompt=asked), **sets) == (
        "contaminated: the prompt shares words with quiz"
    )
    assert reason_for(row_of(prompt="What is the capital of France?"), **sets) is None


def test_a_kept_row_can_be_rewritten() -> None:
    _, (kept,) = filter_of(rewrite="rlvr.toy.refining:readable").judge(
        [row_of(" <think>So 2+3=5, ok</think><answer>5</answer>")]
    )
    assert kept["completion"] == GOOD
    assert kept["content"] == "The answer is \\boxed{5}."


def test_a_threshold_for_no_reward_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keep\.at_least\.acuracy: is not one of the rewards"):
        filter_of(at_least={"acuracy": 1.0})


def test_a_missing_function_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rewrite: module .rlvr\.toy\.refining. has no function"):
        filter_of(rewrite="rlvr.toy.refining:none")
