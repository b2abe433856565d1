"""A node that leaves the Ray cluster: its reward workers and learner ranks count as dead."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import leaving_node
import pytest
from whole_runs import START_S, assert_nothing_is_left, shared_memory, spawn


@pytest.mark.slow
def test_completions_are_graded_again_elsewhere_and_the_learner_is_dead(tmp_path: Path) -> None:
    before = shared_memory()
    command = [sys.executable, leaving_node.__file__, str(tmp_path)]
    run = spawn(command, tmp_path, run_folder=tmp_path)
    try:
        assert run.wait(START_S) == 0, run.error_lines
        assert_nothing_is_left(run, before)
    finally:
        run.end()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["values"] == [1.0, 2.0]
    assert found["num_restarts"] == 1
    assert "in patient" in found["stacks"]  # of a process that another node has to signal
    assert found["learner"] == "learner_0 died in load_checkpoint; its log: learner_0.log"
