"""`rlvr r1` as a command, with stages that need no model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow  # stages run in processes

ROWS = [
    {"prompt": "a?", "reasoning_content": "1. x\n2. y\n3. z", "content": "a", "answer": "a"},
    {"prompt": "b?", "reasoning_content": "1. x", "content": "b", "answer": "b"},
    {"prompt": "a?", "reasoning_content": "1. x\n2. y\n3. z", "content": "a", "answer": "a"},
]


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Return a chain that drops short reasoning, then duplicates."""
    write_rows(tmp_path / "raw.jsonl", ROWS)
    recipe = {"stage": "clean", "name": "x", "data": "x", "passes": [{"min_steps": {}}]}
    (tmp_path / "clean.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    step = {"run": "clean", "recipe": str(tmp_path / "clean.yaml")}
    steps = [
        {**step, "name": "steps", "set": {"name": "steps", "data": str(tmp_path / "raw.jsonl")}},
        {
            **step,
            "name": "unique",
            "set": {
                "name": "unique",
                "data": "{steps}/kept.jsonl",
                "passes": [{"duplicates": {}}],
            },
        },
    ]
    path = tmp_path / "chain.yaml"
    values = {"stage": "r1", "name": "chain", "output_dir": str(tmp_path / "runs"), "steps": steps}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def run_chain(chain: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlvr", "r1", str(chain), *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def states(output: str) -> list[str]:
    return [line.split()[1] for line in output.splitlines()[:2]]


def kept(chain: Path, name: str) -> int:
    path = chain.parent / "runs" / name / "kept.jsonl"
    return len(path.read_text(encoding="utf-8").splitlines())


def test_a_chain_runs_skips_done_steps_and_repeats_stale_ones(chain: Path) -> None:
    plan = run_chain(chain, "plan_only=true")
    assert (plan.returncode, states(plan.stdout)) == (0, ["missing,", "missing"])
    assert not (chain.parent / "runs" / "steps" / "kept.jsonl").exists()

    first = run_chain(chain)
    assert first.returncode == 0, first.stderr
    assert (kept(chain, "steps"), kept(chain, "unique")) == (2, 1)
    assert "=== 1 of 2: steps (clean) ===" in first.stdout

    again = run_chain(chain)
    assert states(again.stdout) == ["done", "done"]
    assert "===" not in again.stdout

    write_rows(chain.parent / "raw.jsonl", [*ROWS, {**ROWS[0], "prompt": "c?"}])
    anew = run_chain(chain)
    assert states(anew.stdout) == ["stale,", "done"]  # the second one's input has not changed yet
    assert (kept(chain, "steps"), kept(chain, "unique")) == (3, 2)
    assert (chain.parent / "runs" / "steps.stale-1" / "kept.jsonl").exists()
    assert (chain.parent / "runs" / "unique.stale-1" / "kept.jsonl").exists()


def test_identical_results_make_no_later_step_stale(chain: Path) -> None:
    assert run_chain(chain).returncode == 0
    write_rows(chain.parent / "raw.jsonl", [*ROWS, {**ROWS[1], "prompt": "too short?"}])
    anew = run_chain(chain)
    assert anew.returncode == 0, anew.stderr
    assert "=== 1 of 2: steps (clean) ===" in anew.stdout
    assert "=== 2 of 2" not in anew.stdout


def test_a_step_that_fails_ends_the_chain_with_its_own_line(chain: Path) -> None:
    (chain.parent / "raw.jsonl").write_text("{not json\n", encoding="utf-8")
    failed = run_chain(chain)
    assert failed.returncode == 2
    *_, why, where = failed.stderr.splitlines()
    assert "raw.jsonl:1: not JSON" in why
    assert where == "rlvr: step steps ended with status 2; the same command resumes with it"
    write_rows(chain.parent / "raw.jsonl", ROWS)
    assert run_chain(chain).returncode == 0
