"""The Ray calls of a step, counted on real actors: a call costs a millisecond or two."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray.actor
from actor_groups import DEADLINE_S, run_loop
from conftest import Stage

from rlvr.learner.learner_group import LearnerGroup

METHODS = ("submit", "step", "weights", "load_weights", "probe")


def _calls_of(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch, *, num_steps: int
) -> Counter[str]:
    calls: Counter[str] = Counter()
    remote = ray.actor.ActorMethod._remote

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        calls[self._method_name] += 1
        return remote(self, *args, **options)

    learner = LearnerGroup(stage.actors.learners, deadline_s=DEADLINE_S)
    asyncio.run(learner.replace_reference())  # other tests have moved the weights
    config = stage.config.model_copy(update={"output_dir": str(folder), "num_steps": num_steps})
    with monkeypatch.context() as patched:
        patched.setattr(ray.actor.ActorMethod, "_remote", counted)
        run_loop(stage.actors, config)
    return calls


def test_a_step_calls_each_method_once_for_each_actor(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = _calls_of(stage, tmp_path / "short", monkeypatch, num_steps=1)
    long = _calls_of(stage, tmp_path / "long", monkeypatch, num_steps=4)
    per_step = {name: (long[name] - short[name]) / 3 for name in METHODS}
    num_engines, num_ranks = len(stage.actors.engines), len(stage.actors.learners)
    assert per_step == {
        "submit": num_engines,
        "step": num_ranks,
        "weights": num_ranks,
        "load_weights": num_engines,
        "probe": num_engines + num_ranks,
    }
    rollout = stage.config.rollout
    num_completions = 3 * rollout.tasks_per_step * rollout.group_size
    for name in ("poll", "grade"):  # one for each chunk of completions
        assert long[name] - short[name] <= num_completions
