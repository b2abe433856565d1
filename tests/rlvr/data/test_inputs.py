"""Errors of the user's inputs: one line each, before anything heavy starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import config_of
from model_folders import write_model

from rlvr.errors import ConfigError
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.grpo.grpo_stage import check_inputs
from sandbox import shutdown


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_model(tmp_path / "model"))


def rows(tmp_path: Path, *rows: dict[str, Any]) -> dict[str, Any]:
    """A tasks section over these rows."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"source": "jsonl", "path": str(path)}


def config(model: str, **sections: Any) -> GrpoConfig:
    return config_of(**({"model": {"path": model}} | sections))


def refusal(model: str, **sections: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        check_inputs(config(model, **sections))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_valid_inputs_are_opened(model: str) -> None:
    heldout = {"source": "toy", "split": "heldout", "num_tasks": 8}
    inputs = check_inputs(config(model, eval={"tasks": heldout}))
    assert inputs.tasks.num_tasks is None
    assert inputs.eval_tasks is not None and inputs.eval_tasks.num_tasks == 8
    assert inputs.mix.names == ("accuracy",)
    assert inputs.rewards == {"accuracy": {"weight": 1.0, "options": {}, "only": {}}}


def test_eval_tasks_are_optional(model: str) -> None:
    assert check_inputs(config(model)).eval_tasks is None


def test_a_missing_model_is_the_first_error(tmp_path: Path) -> None:
    path = f"{tmp_path}/none"
    assert refusal(path, rewards={"none": 1}) == f"model.path: no directory {path}"


def test_an_unknown_reward_names_those_that_are_known(model: str) -> None:
    line = refusal(model, rewards={"acuracy": 1.0})
    assert line.startswith("rewards: ") and "'acuracy'" in line and "accuracy" in line


def test_an_unknown_option_of_a_reward_is_refused(model: str) -> None:
    assert "'colour'" in refusal(model, rewards={"accuracy": {"weight": 1.0, "colour": "red"}})


def test_an_option_of_the_wrong_kind_is_refused(model: str) -> None:
    line = refusal(model, rewards={"accuracy": {"worked_out": "yes"}})
    assert line == "rewards: reward 'accuracy': worked_out is 'yes'; allowed: true, false"


def test_a_template_without_a_prompt_placeholder_is_refused(model: str) -> None:
    assert refusal(model, prompt={"template": "User:"}).startswith("prompt.template: ")


def test_a_step_cannot_hold_more_tasks_than_there_are(model: str, tmp_path: Path) -> None:
    tasks = rows(tmp_path, *({"prompt": f"{i}?", "answer": "5"} for i in range(3)))
    rollout = {"tasks_per_step": 4, "group_size": 2}
    line = refusal(model, tasks=tasks, rollout=rollout)
    assert line.startswith("rollout.tasks_per_step: 4 is more than the 3 tasks of ")
    assert "lower it to 3" in line


def test_a_batch_of_several_steps_cannot_hold_more_tasks_than_there_are(
    model: str, tmp_path: Path
) -> None:
    tasks = rows(tmp_path, *({"prompt": f"{i}?", "answer": "5"} for i in range(7)))
    rollout = {"tasks_per_step": 4, "group_size": 2, "num_minibatches": 2}
    line = refusal(model, tasks=tasks, rollout=rollout)
    assert line.startswith("rollout.tasks_per_step: 4 x num_minibatches: 2 is more than the 7 task")
    assert "lower it to 3" in line


def test_a_row_without_the_answer_names_file_row_and_columns(model: str, tmp_path: Path) -> None:
    tasks = rows(
        tmp_path, {"prompt": "1?", "answer": "1"}, {"prompt": "2?", "gold": "2"}, {"prompt": "3?"}
    )
    line = refusal(model, tasks=tasks)
    assert "rows.jsonl" in line and "2" in line and "'answer'" in line and "gold" in line


def test_a_reward_whose_column_no_task_has_is_refused(model: str, tmp_path: Path) -> None:
    tasks = rows(tmp_path, *({"prompt": f"{i}?", "test": "5"} for i in range(3)))
    line = refusal(model, tasks={**tasks, "columns": {"tests": "test"}})
    assert line == (
        f"tasks: reward accuracy needs the column 'answer', which {tasks['path']}:1 lacks; it has "
        "tests; rename one with tasks.columns.answer=COLUMN or leave that reward out"
    )


def test_held_out_problems_without_end_must_be_counted(model: str) -> None:
    line = refusal(model, eval={"tasks": {"source": "toy", "split": "train"}})
    assert line.startswith("eval.tasks.num_tasks: toy is endless; set num_tasks")


def test_a_file_that_is_not_there_is_named(model: str) -> None:
    line = refusal(model, tasks={"source": "jsonl", "path": "none/rows.jsonl"})
    assert "none/rows.jsonl" in line


def test_code_rewards_require_the_minimal_sandbox_tier(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = {"cases": [{"input": "", "output": "1"}]}
    sections = {
        "tasks": {**rows(tmp_path, *[{"prompt": "?", "tests": tests}] * 8), "source": "code"},
        "rewards": {"passes_tests": 1.0},
    }
    assert check_inputs(config(model, **sections)).mix.uses_sandbox
    shutdown()
    monkeypatch.setenv("SANDBOX_TIER", "unsafe")
    text = refusal(model, **sections)
    shutdown()
    assert text.startswith("sandbox.min_tier: landlock: the sandbox's tier is unsafe, below")


def test_each_task_needs_the_columns_of_its_own_rewards(model: str, tmp_path: Path) -> None:
    sections = {
        "tasks": rows(tmp_path, *[{"prompt": "?", "answer": "1", "kind": "math"}] * 8),
        "rewards": {"accuracy": {"only": {"kind": "math"}}, "countdown": {"only": {"kind": "cd"}}},
    }
    assert check_inputs(config(model, **sections)).rewards["accuracy"]["only"] == {"kind": "math"}
    sections["rewards"] = {"countdown": {"only": {"kind": "cd"}}}
    assert refusal(model, **sections) == (
        "tasks: task jsonl/1: no reward applies to it; check their `only`"
    )
