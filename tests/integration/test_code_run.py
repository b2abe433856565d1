"""A run whose reward runs programs: tier in the manifest, verdicts in the rollouts."""

from __future__ import annotations

import json
from pathlib import Path

from actor_groups import tiny_recipe
from whole_runs import assert_nothing_is_left, rollouts, running, shared_memory


def test_code_and_arithmetic_are_trained_in_one_run(tiny_model: Path, tmp_path: Path) -> None:
    tests = {"cases": [{"input": "2", "output": "4"}]}
    code = {
        "prompt": "Double it.",
        "kind": "code",
        "tests": tests,
        "solution": "print(2 * int(input()))",
    }
    rows = [{**code, "prompt": f"Double it, {n}."} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tiny_recipe(
        tiny_model,
        tmp_path,
        num_steps=2,
        rewards={
            "odd_rewards:letters": 1.0,
            "passes_tests": {"only": {"kind": "code"}},
            "accuracy": {"only": {"kind": "math"}},
        },
        tasks={
            "source": "code",
            "path": str(tmp_path / "rows.jsonl"),
            "columns": {"kind": "kind"},
        },
        eval={"tasks": None, "correct_by": None},
    )
    before = shared_memory()
    with running(recipe, tmp_path) as run:
        assert run.wait() == 0, run.output
        assert_nothing_is_left(run, before)
    assert "preflight: 8 of 8 gold answers earn full reward" in run.output
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["sandbox"]["tier"] in ("namespaces", "landlock")
    [first, *_] = [row for step in rollouts(run.folder).values() for row in step]
    assert first["passes_tests/outcome"] in ("no_answer", "truncated", "wrong", "correct")
    assert "accuracy/value" not in first
