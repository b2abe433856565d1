"""Progress of a run, on a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from rlvr.run.console import RunConsole, step_line, time_shares

METRICS: dict[str, Any] = {
    "step": 2,
    "reward/mean": 1.25,
    "reward/std": 0.5,
    "reward/accuracy/mean": 0.75,
    "reward/think_format/mean": 0.5,
    "reward/ungraded_frac": 0.0,
    "group/no_signal_frac": 0.25,
    "completion/length/mean": 20.4,
    "completion/truncated_frac": 0.125,
    "policy/entropy": 0.5,
    "tokens/per_s": 12345.6,
    "time/step_s": 4.0,
    "time/generate_s": 3.0,
    "time/grade_s": 1.0,
    "time/rollout_wait_s": 2.0,
    "time/learn_s": 1.0,
    "time/sync_s": 0.5,
    "time/other_s": 0.5,
}


def shown(*, is_terminal: bool, **metrics: Any) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=100, highlight=False)
    with RunConsole(title="toy", num_steps=10, console=console) as run_console:
        run_console.phase("starting engines [cpu]")
        run_console.step(METRICS | metrics)
        run_console.evaluation("step 2: held-out pass@1 0.500")
    return file.getvalue()


def test_the_wait_is_split_in_proportion_to_generation_and_grading() -> None:
    # of 2 s waited a quarter was grading: 0.5 s of a step of 4 s
    assert time_shares(METRICS) == {
        "generate": 0.375,
        "grade": 0.125,
        "learn": 0.25,
        "sync": 0.125,
        "other": 0.125,
    }
    assert sum(time_shares(METRICS).values()) == 1.0


def test_a_step_is_one_line() -> None:
    line = step_line(METRICS, num_steps=10, left_s=3725.2)
    assert line == (
        "step 2/10  reward 1.250 (accuracy 0.75 think_format 0.50)  length 20  entropy 0.500  "
        "generate 38% grade 12% learn 25% sync 12% other 12%  12,346 tokens/s  4.0 s  left 1:02:05"
    )


@pytest.mark.parametrize(("left_s", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34")])
def test_the_time_left_reads_like_a_clock(left_s: float, text: str) -> None:
    assert step_line(METRICS, num_steps=10, left_s=left_s).endswith(f"left {text}")


def test_without_a_terminal_each_event_is_a_line_without_colours() -> None:
    text = shown(is_terminal=False)
    assert text.splitlines() == [
        "starting engines [cpu]",
        step_line(METRICS, num_steps=10, left_s=32.0),  # 8 steps of 4 s
        "step 2: held-out pass@1 0.500",
    ]


def test_a_terminal_shows_everything() -> None:
    text = shown(is_terminal=True)
    for part in ("toy  step 2 of 10", "accuracy", "no signal", "20.4 tokens", "0:32", "pass@1"):
        assert part in text


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_missing_value_is_a_dash(is_terminal: bool) -> None:
    nothing = {"reward/mean": None, "reward/accuracy/mean": None, "policy/entropy": None}
    assert "-" in shown(is_terminal=is_terminal, **nothing)
