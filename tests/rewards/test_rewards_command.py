"""Rewards tried on a file from the command line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rewards.__main__ import main, try_rewards
from rlvr.cli import main as rlvr

ROWS: list[dict[str, Any]] = [
    {"completion": "<think>6*7</think><answer>42</answer>", "answer": "42"},
    {"completion": "no tags, \\boxed{41}", "answer": "42"},
    {"completion": [{"role": "assistant", "content": "\\boxed{7}"}], "answer": 7},
]


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_table_says_value_outcome_and_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([written(tmp_path / "rows.jsonl", ROWS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["row", "reward", "value", "outcome", "reason"]
    cells = [line.split()[:4] for line in lines[1:]]
    assert ["1", "accuracy", "1", "correct"] in cells
    assert ["2", "accuracy", "0", "wrong"] in cells
    assert ["3", "accuracy", "1", "correct"] in cells
    assert ["2", "think_format", "0", "wrong"] in cells


def test_rewards_can_be_named_with_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"completion": "<think>a</think>b"}]
    file = written(tmp_path / "rows.jsonl", rows)
    assert main([file, "--json", "--reward", "think_format:profile=r1"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["rewards"]["think_format"]["value"] == 1.0


def test_it_is_a_command_of_rlvr_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rlvr(["reward", "test", written(tmp_path / "rows.jsonl", ROWS)]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_packed_files_and_csv_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(ROWS[0]) + "\n\n")
    assert main([str(tmp_path / "rows.jsonl.gz")]) == 0
    (tmp_path / "rows.csv").write_text('completion,answer\n"\\boxed{5}",5\n')
    assert main([str(tmp_path / "rows.csv")]) == 0


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("", [], "holds no rows"),
        ("{\n", [], "line 1: not JSON"),
        ("[1]\n", [], "line 1: list, not an object"),
        ('{"answer": "1"}\n', [], "row 1: no column 'completion'; found: answer"),
        ('{"completion": "a"}\n', ["--reward", "accuracy"], "row 1: no column 'answer'"),
        ('{"completion": "a"}\n', ["--reward", "accurate"], "no reward 'accurate'; known: "),
        ('{"completion": "a"}\n', ["--reward", "think_format:r1"], "'r1' is not OPTION=VALUE"),
        ('{"completion": "a"}\n', ["--reward", "think_format:profile=x"], "think_format"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    assert main([str(tmp_path / "rows.jsonl"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/file.jsonl"]) == 2
    assert "/no/such/file.jsonl" in capsys.readouterr().err


def test_in_python_the_results_are_plain_data() -> None:
    [first, *_] = try_rewards(ROWS, {"accuracy": {}})
    assert first["rewards"]["accuracy"]["value"] == 1.0
    assert first["row"] == 1
