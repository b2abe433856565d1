"""What a finished run says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fakes import group_of, rollout_of

from rlvr.grpo.run_summary import closing_text, make_summary
from rlvr.run.rollout_store import rollout_rows, write_rollouts
from rlvr.run.row_log import MetricsFile
from rlvr.run.run_folder import RunFolder, write_json


def evaluation(step: int, pass_at_1: float, **values: Any) -> dict[str, Any]:
    plain = {
        "pass_at_1": pass_at_1,
        "pass_at_1_stderr": 0.01,
        "pass_at_2": 0.625,
        "pass_at_4": 0.75,
        "pass_at_k": 0.75,
        "majority_at_k": 0.5,
        "format_frac": 0.25,
        "format_stderr": 0.02,
        "truncated_frac": 0.125,
        "length_mean": 20.5,
        "num_tasks": 256,
        "num_samples": 4,
    }
    return {"step": step, **{f"eval/{name}": v for name, v in (plain | values).items()}}


def folder_with(tmp_path: Path, *lines: dict[str, Any]) -> RunFolder:
    folder = RunFolder(tmp_path)
    for line in lines:
        MetricsFile(folder.metrics).append(line)
    return folder


def test_the_summary_has_the_first_and_the_last_evaluation_and_the_seconds_of_steps(
    tmp_path: Path,
) -> None:
    steps = [{"step": step, "time/step_s": 1.26} for step in (1, 2)]
    folder = folder_with(
        tmp_path,
        evaluation(0, 0.4),
        steps[0],
        evaluation(1, 0.6),
        steps[1],
        evaluation(2, 0.9, format_frac=0.98),
    )
    summary = make_summary(folder, num_steps=2)
    assert (summary["num_steps"], summary["wall_s"]) == (2, 2.5)
    assert summary["before"]["pass_at_1"] == 0.4
    assert summary["after"]["pass_at_1"] == 0.9
    names = {"pass_at_1", "pass_at_1_stderr", "format_frac", "num_tasks"}
    assert names <= set(summary["before"]) == set(summary["after"])


def test_evaluations_before_a_change_of_the_held_out_tasks_are_not_compared(tmp_path: Path) -> None:
    evaluations = [evaluation(step, step / 10) for step in range(5)]
    folder = folder_with(tmp_path, *evaluations)
    changes = [
        {"step": 1, "key": "eval.tasks.num_tasks", "before": 4, "after": 8},
        {"step": 3, "key": "eval.every_steps", "before": 1, "after": 2},
        {"step": 3, "key": "learner.lr", "before": 1.0, "after": 2.0},
    ]
    write_json(folder.manifest, {"changes": changes})
    summary = make_summary(folder, num_steps=4)
    assert (summary["before"]["pass_at_1"], summary["after"]["pass_at_1"]) == (0.2, 0.4)


def test_the_table_has_95_percent_intervals(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, evaluation(0, 0.4), evaluation(150, 0.9, format_frac=0.98))
    text = closing_text(folder, make_summary(folder, num_steps=150))
    table = [line.split("  ") for line in text.partition("\n\n")[0].splitlines()]
    cells = {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in table}
    assert cells["pass@1"] == ["0.400 +- 0.020", "0.900 +- 0.020"]  # 1.96 x 0.01
    assert cells["pass@2"] == ["0.625", "0.625"]
    assert cells["pass@4"] == ["0.750", "0.750"]
    assert cells["majority of 4"] == ["0.500", "0.500"]
    assert cells["well-formed"] == ["0.250 +- 0.039", "0.980 +- 0.039"]
    assert cells["mean length"] == ["20.5 tokens", "20.5 tokens"]
    assert "after 150 steps" in text and "256" in text


def test_a_single_completion_a_task_has_no_pass_at_k_and_no_majority(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, evaluation(0, 0.4, num_samples=1, format_frac=None))
    text = closing_text(folder, make_summary(folder, num_steps=1))
    assert "majority" not in text and "well-formed" not in text
    assert text.count("pass@") == 1


def test_a_run_without_evaluation_has_a_summary_too(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, {"step": 1, "time/step_s": 3.0})
    summary = make_summary(folder, num_steps=1)
    assert summary == {
        "before": None, "after": None, "best": None, "num_steps": 1, "wall_s": 3.0
    }  # fmt: skip
    text = closing_text(folder, summary)
    assert text.startswith("1 steps in 3 s, without an evaluation\n")


def test_the_text_shows_two_problems_before_and_after_and_where_all_lies(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, evaluation(0, 0.0), evaluation(9, 1.0))
    for step, text in [(0, "who\nknows " + "x" * 400), (9, "<answer>5</answer>")]:
        groups = [group_of(rollout_of(1.0, text), task_id=f"n/{i}") for i in range(3)]
        rows = rollout_rows(groups, ["User: 2+3?"] * 3, step=step)
        write_rollouts(folder.rollouts / f"eval_{step:06d}.parquet", rows)
    text = closing_text(folder, make_summary(folder, num_steps=9))
    assert text.count("n/0: User: 2+3?") == text.count("n/1: ") == 1
    assert "n/2" not in text
    assert "before: who knows xxx" in text and "x ..." in text
    assert "after:  <answer>5</answer>" in text
    assert str(folder.model) in text and f"grpo {folder.config}" in text


def test_the_best_step_is_named_with_its_checkpoint_or_how_to_keep_it(tmp_path: Path) -> None:
    scores = {0: 0.1, 10: 0.5, 20: 0.9, 30: 0.9, 40: 0.8}
    folder = folder_with(tmp_path, *(evaluation(step, value) for step, value in scores.items()))
    summary = make_summary(folder, num_steps=40)
    assert summary["best"] == {"step": 30, "pass_at_1": 0.9}
    assert "0.900 after step 30: not on disk; checkpoint.keep.best=1" in closing_text(
        folder, summary
    )
    (folder.checkpoints / "step_000030").mkdir(parents=True)
    (folder.checkpoints / "step_000030" / "state.json").touch()
    text = closing_text(folder, summary)
    assert f"0.900 after step 30: {tmp_path}@30" in text
    assert f"checkpoints {tmp_path}@30 " in text


def test_a_last_step_that_is_the_best_is_not_named_twice(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, evaluation(0, 0.4), evaluation(5, 0.9))
    summary = make_summary(folder, num_steps=5)
    assert summary["best"]["step"] == 5
    assert "best held-out" not in closing_text(folder, summary)
