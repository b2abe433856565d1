"""`rlvr sample` with a real engine: killed, resumed, filtered again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from whole_runs import RLVR, Run, spawn, wait_until, write_recipe

NUM_TASKS = 8
NUM_SAMPLES = 2
START_S = 240.0


def recipe_of(model: Path, folder: Path) -> dict[str, Any]:
    """Graded slowly, two tasks at a time, so that a kill finds it in the middle."""
    return {
        "stage": "sample",
        "name": "tiny",
        "output_dir": str(folder),
        "model": {"path": str(model)},
        "prompt": {"template": "User: {prompt}\nAssistant:"},
        "tasks": {"source": "toy", "split": "train", "num_tasks": NUM_TASKS},
        "rewards": {"odd_rewards:slow_letters": 1.0},
        "rollout": {
            "group_size": NUM_SAMPLES,
            "max_tokens": 16,
            "max_prompt_tokens": 96,
            "max_concurrent": 2,
            "kv_cache_gib": 0.1,
        },
        "keep": {"at_least": {"odd_rewards:slow_letters": 0.0}, "truncated": True},
    }


def rows_of(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def sampling(recipe: Path, folder: Path, *overrides: str) -> Run:
    return spawn([str(RLVR), "sample", str(recipe), *overrides], folder, run_folder=folder / "tiny")


def finished(run: Run) -> str:
    """Its output, once it is done."""
    try:
        assert run.wait(START_S) == 0, run.error_lines
        return run.output
    finally:
        run.end()


def test_sampling_resumes_where_it_was_killed_and_filters_again(
    tiny_model: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(recipe_of(tiny_model, tmp_path), tmp_path)
    sampled = tmp_path / "tiny/sampled.jsonl"
    killed = sampling(recipe, tmp_path)
    try:
        wait_until(
            lambda: bool(rows_of(sampled)) or killed.process.poll() is not None, START_S, "row"
        )
        os.kill(killed.process.pid, signal.SIGKILL)
        before = rows_of(sampled)
        assert 0 < len(before) < NUM_TASKS * NUM_SAMPLES, killed.error_lines
    finally:
        killed.end()
    finished(sampling(recipe, tmp_path))

    assert rows_of(sampled)[: len(before)] == before
    rows = rows_of(tmp_path / "tiny/rows.jsonl")
    assert len({row["id"] for row in rows}) == len(rows) == NUM_TASKS * NUM_SAMPLES
    assert [row["task_id"] for row in rows[::NUM_SAMPLES]] == [f"toy/train/0/{i}" for i in range(8)]
    assert all(row["kept"] and row["completion"] for row in rows)
    summary = json.loads((tmp_path / "tiny/summary.json").read_text(encoding="utf-8"))
    assert (summary["num_tasks"], summary["num_kept"]) == (NUM_TASKS, len(rows))
    manifest = json.loads((tmp_path / "tiny/manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["inputs"]["model.path"]["sha256"]) == 64

    stricter = finished(sampling(recipe, tmp_path, "keep.per_task=1"))  # nothing is written again
    assert "parts" not in stricter
    kept = rows_of(tmp_path / "tiny/kept.jsonl")
    assert [row["task_id"] for row in kept] == [f"toy/train/0/{i}" for i in range(8)]
    assert rows_of(sampled)[: len(before)] == before


def test_a_mistake_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    recipe = write_recipe(recipe_of(tiny_model, tmp_path), tmp_path)
    run = sampling(recipe, tmp_path, "tasks.num_tasks=null")
    try:
        assert run.wait(60.0) == 2
    finally:
        run.end()
    assert run.error_lines == ["rlvr: tasks.num_tasks: toy is endless; set num_tasks, e.g. 256"]
