"""`rlvr eval` with a real engine: killed, resumed, finished, compared."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from whole_runs import RLVR, Run, spawn, wait_until, write_recipe

from rlvr.evaluation.eval_config import StrategySection
from rlvr.evaluation.scorers import ScorerInput, make_scorer
from rlvr.types import Task

NUM_TASKS = 6
NUM_SAMPLES = 4
START_S = 240.0


def recipe_of(model: Path, folder: Path) -> dict[str, Any]:
    """Two suites of toy problems, graded slowly, so that a kill finds it in the middle."""
    return {
        "stage": "eval",
        "name": "tiny",
        "output_dir": str(folder),
        "model": {"path": str(model)},
        "prompt": {"template": "User: {prompt}\nAssistant:"},
        "rewards": {"accuracy": 1.0, "odd_rewards:slow_letters": 1.0},
        "suites": {
            "math": {"tasks": {"source": "toy", "split": "heldout", "num_tasks": NUM_TASKS}},
            "short": {
                "tasks": {"source": "toy", "split": "heldout", "num_tasks": 2},
                "max_tokens": 8,
                "samples": 2,
                "correct_by": "odd_rewards:slow_letters",
            },
        },
        "rollout": {
            "group_size": NUM_SAMPLES,
            "max_tokens": 24,
            "max_prompt_tokens": 96,
            "max_concurrent": 4,
            "kv_cache_gib": 0.1,
        },
        "thinking_budget": 16,
        "budget_cue": "</think>",
        "strategy": [
            "plain",
            "majority",
            {"name": "best_of_n", "scorer": "rule", "rule": "repetition"},
            {
                "name": "beam",
                "scorer": "rule",
                "rule": "repetition",
                "beams": 2,
                "width": 2,
                "max_iterations": 3,
                "step_end": "e",
            },
        ],
    }


def rows_of(folder: Path) -> list[dict[str, Any]]:
    path = folder / "rows.jsonl"
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def evaluation(recipe: Path, folder: Path, *overrides: str) -> Run:
    return spawn([str(RLVR), "eval", str(recipe), *overrides], folder, run_folder=folder / "tiny")


def test_an_evaluation_resumes_where_it_was_killed_and_can_be_compared(
    tiny_model: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(recipe_of(tiny_model, tmp_path), tmp_path)
    folder = tmp_path / "tiny"
    killed = evaluation(recipe, tmp_path)
    try:
        wait_until(
            lambda: len(rows_of(folder)) > 0 or killed.process.poll() is not None, START_S, "row"
        )
        os.kill(killed.process.pid, signal.SIGKILL)
        before = rows_of(folder)
        assert 0 < len(before) < NUM_TASKS * NUM_SAMPLES + 4, killed.error_lines
    finally:
        killed.end()
    gone_on = evaluation(recipe, tmp_path)
    try:
        assert gone_on.wait(START_S) == 0, gone_on.error_lines
    finally:
        gone_on.end()
    assert "resuming after" in gone_on.output

    rows = rows_of(folder)
    keys = [(r["strategy"], r["suite"], r["id"], r["sample_index"]) for r in rows]
    assert len(keys) == len(set(keys)) == NUM_TASKS * NUM_SAMPLES + 2 * 2 + NUM_TASKS + 2
    assert rows[: len(before)] == before
    limit = {"math": 24, "short": 8}
    assert all(0 < row["num_tokens"] <= limit[row["suite"]] for row in rows)
    check_summary(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
    assert (folder / "report.md").read_text(encoding="utf-8") in gone_on.output

    again = evaluation(recipe, tmp_path)
    try:
        assert again.wait(60.0) == 0
    finally:
        again.end()
    assert "This run is finished" in again.output
    compare_with_itself(folder, tmp_path)


def check_summary(summary: dict[str, Any]) -> None:
    math, short = summary["suites"]["math"], summary["suites"]["short"]
    assert (math["num_tasks"], math["num_samples"]) == (NUM_TASKS, NUM_SAMPLES)
    assert (short["num_tasks"], short["num_samples"]) == (2, 2)
    assert 0.0 <= math["pass_at_1"] <= math["pass_at_2"] <= math["pass_at_4"] <= 1.0
    costs = summary["strategies"]["math"]
    assert list(costs) == ["plain", "majority", "best_of_n", "beam"]
    assert costs["majority"]["tokens_per_task"] == NUM_SAMPLES * costs["plain"]["tokens_per_task"]
    assert costs["beam"]["tokens_per_task"] > 0.0
    assert all(cost["seconds_per_task"] > 0.0 for cost in costs.values())


def compare_with_itself(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("logs"))
    aside = tmp_path / "compare"
    aside.mkdir()
    both = {
        "stage": "compare",
        "name": "both",
        "output_dir": str(tmp_path),
        "folders": {"one": str(folder), "two": str(copy)},
        "num_prompts": 1,
    }
    command = [str(RLVR), "compare", str(write_recipe(both, aside))]
    compared = spawn(command, aside, run_folder=tmp_path / "both")
    try:
        assert compared.wait(60.0) == 0, compared.error_lines
    finally:
        compared.end()
    page = (tmp_path / "both/report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 4  # a prompt of each suite, two models


def test_a_reward_model_scores_completions_between_0_and_1(
    tiny_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_model, num_labels=1, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    strategy = StrategySection(name="best_of_n", scorer="reward_model", reward_model=str(tmp_path))
    scorer = make_scorer(strategy, think_prefilled=False)
    task = Task(id="n/0", prompt="2+3?")
    items = [ScorerInput(task=task, prompt="2+3? ", text=text) for text in ("5", "6, or 7", "5")]
    first, second, third = scorer(items)
    assert first is not None and second is not None and third is not None
    assert 0.0 < first < 1.0 and first == pytest.approx(third) and first != second
