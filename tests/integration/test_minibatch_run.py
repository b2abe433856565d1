"""The loop on real actors: several optimizer steps per rollout batch, a replaced reference, and
what all actors record meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from actor_groups import DEADLINE_S, run_loop
from conftest import Stage
from whole_runs import train_lines

from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.learner.learner_group import LearnerGroup
from rlvr.stages.profile.actor_traces import start_traces, take_traces
from rlvr.stages.profile.time_table import span_times
from rlvr.stages.profile.tracks import Track, clipped, step_window

Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """The folder of a run, and what its processes recorded."""

    folder: Path
    tracks: Sequence[Track]


@pytest.fixture(scope="module")
def run(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """A run after two rollout batches of three mini-batches each."""
    learner = LearnerGroup(stage.actors.learners, deadline_s=DEADLINE_S)
    asyncio.run(learner.replace_reference())  # other tests have moved the policy away from it
    output_dir = str(tmp_path_factory.mktemp("minibatches"))
    values = stage.config.model_dump() | {"output_dir": output_dir, "num_steps": 6}
    values["rollout"]["num_minibatches"] = 3
    values["loss"]["replace_reference_every"] = 2
    config = GrpoConfig.model_validate(values)
    asyncio.run(start_traces(stage.actors))
    run_loop(stage.actors, config)
    recorded = asyncio.run(take_traces(stage.actors))
    return Traced(folder=config.run_dir, tracks=recorded.tracks)


@pytest.fixture(scope="module")
def folder(run: Traced) -> Path:
    return run.folder


@pytest.fixture(scope="module")
def lines(folder: Path) -> list[Line]:
    return train_lines(folder)


def test_weights_go_to_the_engines_after_the_last_mini_batch(lines: list[Line]) -> None:
    assert [line["policy/staleness"] for line in lines] == [0, 1, 2, 0, 1, 2]
    assert [line["sync/probe_error"] is not None for line in lines] == [
        *(False, False, True),
        *(False, False, True),
    ]


def test_ratios_are_to_the_engines_own_log_probs(lines: list[Line]) -> None:
    for line in lines:
        if line["policy/staleness"] == 0:
            assert line["policy/max_ratio_error"] < 1e-3
        else:
            assert line["policy/max_ratio_error"] > 1e-3  # the policy has moved since


def test_right_after_its_replacement_the_reference_is_the_policy(lines: list[Line]) -> None:
    kl = {line["step"]: line["policy/kl"] for line in lines}  # replaced at the end of 2, 4 and 6
    assert kl[1] == kl[3] == kl[5] == 0.0
    assert min(kl[2], kl[4], kl[6]) > 0.0


def test_every_completion_is_in_one_step_under_its_own_index(folder: Path) -> None:
    rows = [
        row
        for file in sorted((folder / "rollouts").glob("step_*.parquet"))
        for row in pq.read_table(file).to_pylist()
    ]
    assert Counter(row["step"] for row in rows) == dict.fromkeys(range(1, 7), 16)
    assert {row["policy_version"] for row in rows} == {0, 3}
    keys = Counter((row["policy_version"], row["task_id"], row["sample_index"]) for row in rows)
    assert len(keys) == 6 * 16
    assert {key[2] for key in keys} == {0, 1, 2, 3}


def test_every_actor_records_its_work_on_one_clock(run: Traced) -> None:
    window = step_window(run.tracks, after=3, until=6)  # the second rollout batch
    tracks = [clipped(track, window) for track in run.tracks]
    times = span_times(tracks, traced_s=(window[1] - window[0]) / 1e9)
    num_spans = {(time.track, time.path): time.num_spans for time in times}
    assert num_spans["controller", ("step", "learn")] == 3
    assert num_spans["controller", ("step", "sync", "probe")] == 1
    for engine in ("engine_0", "engine_1"):
        assert num_spans[engine, ("prefill",)] >= 1 and num_spans[engine, ("decode",)] >= 1
        assert num_spans[engine, ("load weights",)] == num_spans[engine, ("probe",)] == 1
    num_micro_batches = num_spans["learner_0", ("forward",)]
    assert num_spans["learner_0", ("backward",)] == num_micro_batches >= 3
    assert num_spans["learner_0", ("forward", "reference")] == num_micro_batches
    assert [num_spans["learner_0", (name,)] for name in ("optimizer", "pack", "probe")] == [3, 1, 1]
    assert num_spans["rewards_0", ("grade", "accuracy")] == num_spans["rewards_0", ("grade",)]
    by_name = {track.name: track for track in tracks}
    (learn, *_) = [span for span in by_name["controller"].spans if span.name == "learn"]
    (forward, *_) = [span for span in by_name["learner_0"].spans if span.name == "forward"]
    assert learn.start_ns <= forward.start_ns <= forward.end_ns <= learn.end_ns
    groups = [s for s in by_name["engine_0"].spans if s.lane == "groups"]
    assert len(groups) == 6  # of the 12 tasks in the batch


def test_running_requests_rise_and_fall_to_none(run: Traced) -> None:
    for track in run.tracks[1:3]:
        running = [count.value for count in track.counts if count.name == "running"]
        assert max(running) >= 4 and running[-1] == 0
