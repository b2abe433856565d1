"""`rlvr profile`: the trace file, the table of times, and the recipe."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import config_of
from loop_runs import Run

from rlvr.errors import ConfigError
from rlvr.run.trace import Count, Span, start_trace, take_trace
from rlvr.stages.profile.profile_config import ProfileConfig
from rlvr.stages.profile.profile_stage import check_length
from rlvr.stages.profile.time_table import busy_s, span_times, table_text
from rlvr.stages.profile.torch_ops import ops_text, start_torch_profiler, take_torch_ops
from rlvr.stages.profile.trace_file import trace_events, write_trace
from rlvr.stages.profile.tracks import CONTROLLER, Track, clipped, step_window

MS = 1_000_000  # nanoseconds
START = 1_700_000_000_000 * MS


def at(name: str, start_ms: float, end_ms: float, lane: str = "", **arguments: Any) -> Span:
    """A span in milliseconds after START."""
    return Span(
        name=name,
        start_ns=START + int(start_ms * MS),
        end_ns=START + int(end_ms * MS),
        lane=lane,
        arguments=arguments,
    )


ENGINE = Track(
    name="engine_0",
    events=(
        at("decode", 20, 60),
        Count(name="running", at_ns=START + 60 * MS, value=8),
        at("prefill", 0, 20, num_running=8),
        at("group", 0, 60, "groups", task=0),
        at("group", 0, 45, "groups", task=1),
        at("group", 45, 50, "groups", task=2),
    ),
)
LEARNER = Track(
    name="learner_0",
    events=(
        at("forward", 60, 70),
        at("backward", 70, 90),
        at("forward", 90, 95),
        at("step", 60, 100),
        at("probe", 110, 120),
    ),
)


def test_the_file_holds_valid_trace_events(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    write_trace(path, [ENGINE, LEARNER], start_ns=START)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert set(content) == {"traceEvents", "displayTimeUnit"}
    for event in content["traceEvents"]:
        assert event["ph"] in {"X", "C", "M"}
        assert isinstance(event["name"], str) and event["ts"] >= 0
        assert event["pid"] in {1, 2} and isinstance(event["tid"], int)
        assert (event["ph"] == "X") == ("dur" in event)
        assert isinstance(event["args"], dict)


def test_each_actor_is_a_process_of_the_trace_and_times_are_microseconds() -> None:
    events = list(trace_events([ENGINE, LEARNER], start_ns=START))
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {1: "engine_0", 2: "learner_0"}
    (prefill,) = [e for e in events if e["name"] == "prefill"]
    assert (prefill["ts"], prefill["dur"], prefill["pid"]) == (0.0, 20_000.0, 1)
    assert prefill["args"] == {"num_running": 8}
    (running,) = [e for e in events if e["ph"] == "C"]
    assert (running["name"], running["ts"], running["args"]) == ("running", 60_000.0, {"value": 8})


def test_overlapping_spans_of_a_lane_are_on_threads_of_their_own() -> None:
    """Perfetto drops a span that begins within another of its thread and ends after it."""
    events = list(trace_events([ENGINE], start_ns=START))
    threads = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert threads == {"engine_0": 1, "groups": 2}  # group 1 and 2 lie within group 0
    skewed = Track(
        name="a", events=(at("x", 0, 10, "l"), at("y", 5, 15, "l"), at("z", 10, 12, "l"))
    )
    found = {e["name"]: e["tid"] for e in trace_events([skewed], start_ns=START) if e["ph"] == "X"}
    assert found == {"x": 1, "y": 2, "z": 1}


def test_spans_of_a_thread_nest_or_follow_each_other() -> None:
    lane = [at(f"{i}", (i * 7) % 40, (i * 7) % 40 + (i * 13) % 30 + 1, "l") for i in range(60)]
    threads: dict[int, list[tuple[float, float]]] = {}
    for event in trace_events([Track(name="a", events=lane)], start_ns=START):
        if event["ph"] == "X":
            threads.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert sum(map(len, threads.values())) == 60
    for spans in threads.values():
        for (_, end), (later_start, later_end) in pairwise(spans):
            assert later_start >= end or later_end <= end


def test_a_track_is_clipped_to_the_window() -> None:
    found = clipped(ENGINE, (START + 10 * MS, START + 50 * MS))
    assert [(s.name, (s.start_ns - START) / MS, (s.end_ns - START) / MS) for s in found.spans] == [
        ("group", 10, 50),
        ("group", 10, 45),
        ("prefill", 10, 20),
        ("decode", 20, 50),
        ("group", 45, 50),
    ]
    assert found.counts == []  # it is after the window


def test_times_are_a_tree_of_busy_seconds() -> None:
    times = span_times([ENGINE, LEARNER], traced_s=0.25)
    found = {(t.track, t.path): (t.num_spans, t.busy_s, t.busy_frac) for t in times}
    assert found == {
        ("engine_0", ()): (2, 0.06, 0.24),  # groups are requests, not work
        ("engine_0", ("prefill",)): (1, 0.02, 0.08),
        ("engine_0", ("decode",)): (1, 0.04, 0.16),
        ("learner_0", ()): (5, 0.05, 0.2),
        ("learner_0", ("step",)): (1, 0.04, 0.16),
        ("learner_0", ("step", "forward")): (2, 0.015, 0.06),
        ("learner_0", ("step", "backward")): (1, 0.02, 0.08),
        ("learner_0", ("probe",)): (1, 0.01, 0.04),
    }
    paths = [t.path for t in times if t.track == "learner_0"]
    assert paths == [(), ("step",), ("step", "forward"), ("step", "backward"), ("probe",)]


def test_overlapping_spans_count_once() -> None:
    assert busy_s([at("a", 0, 10), at("b", 2, 4), at("c", 5, 15), at("d", 20, 21)]) == 0.016
    assert busy_s([]) == 0


def test_the_table_indents_what_lies_within() -> None:
    text = table_text(span_times([LEARNER], traced_s=0.25))
    assert text.splitlines() == [
        "              busy, s  of the time  spans",
        "-----------------------------------------",
        "learner_0       0.050        20.0%",
        "  step          0.040        16.0%      1",
        "    forward     0.015         6.0%      2",
        "    backward    0.020         8.0%      1",
        "  probe         0.010         4.0%      1",
    ]


def test_the_window_is_that_of_the_steps_after_the_warm_up() -> None:
    steps = [at("step", 100 * i, 100 * i + 90, step=i) for i in range(1, 5)]
    tracks = [ENGINE, Track(name=CONTROLLER, events=steps)]
    assert step_window(tracks, after=1, until=3) == (START + 200 * MS, START + 390 * MS)


def test_the_loop_records_its_phases_and_ends_early_without_a_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path, sections={"num_steps": 6}, num_eval_tasks=1)
    start_trace()
    try:
        state = run.start(until=2)
    finally:
        track = Track(name=CONTROLLER, events=take_trace())
    assert state.step == 2 and run.checkpoints.latest() is None
    paths = {one.path for one in span_times([track], traced_s=1.0)}
    phases = ("rollout_wait", "make batch", "learn", "sync")
    assert {("evaluate",), ("step",), *(("step", name) for name in phases)} <= paths
    assert {span.name for span in track.spans if span.lane} == {"rollouts", "generate", "grade"}


def test_torch_operations_are_listed_by_their_own_time(tmp_path: Path) -> None:
    import torch

    start_torch_profiler()
    torch.ones(200, 200) @ torch.ones(200, 200)
    path = tmp_path / "torch.json"
    ops = take_torch_ops(str(path))
    assert "aten::mm" in [op.name for op in ops]
    assert [op.self_s for op in ops] == sorted((op.self_s for op in ops), reverse=True)
    assert 0.9 < sum(op.self_frac for op in ops) <= 1.0 + 1e-6
    assert len(ops_text(ops).splitlines()) == len(ops)
    assert json.loads(path.read_text(encoding="utf-8"))["traceEvents"]


def profile_of(**sections: Any) -> ProfileConfig:
    return ProfileConfig.model_validate(config_of().model_dump() | sections)


def test_a_profile_has_a_folder_of_its_own() -> None:
    assert profile_of(num_steps=9).run_dir == Path("runs/fake-profile")
    assert config_of().run_dir == Path("runs/fake")


def test_whole_rollout_batches_are_traced() -> None:
    rollout = {"tasks_per_step": 2, "group_size": 2, "num_minibatches": 4}
    config = profile_of(num_steps=12, rollout=rollout, profile={"warmup_batches": 1})
    assert (config.first_traced_step, config.end_step) == (4, 8)


def test_a_run_that_is_too_short_is_refused_with_what_it_needs() -> None:
    config = profile_of(rollout={"tasks_per_step": 2, "max_staleness": 1})
    check_length(config, num_steps=4)  # 2 to warm up, 1 in the trace, 1 generated meanwhile
    with pytest.raises(ConfigError, match=r"^num_steps: 3 steps .* pass num_steps=4 or lower"):
        check_length(config, num_steps=3)
