"""Actors that several tests share: starting an engine takes longer than most tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from actor_groups import tiny_config, tiny_recipe
from whole_runs import Run, assert_nothing_is_left, running, shared_memory

from rlvr.cluster.ray_cluster import connected
from rlvr.grpo.actor_group import ActorGroup, cpus_needed, start_actors
from rlvr.grpo.grpo_config import GrpoConfig

os.environ.pop("RAY_ADDRESS", None)  # tests bring a cluster of their own
os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # actors find odd_rewards there


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Two engines, a learner rank with a reference, a reward worker; and their config."""

    actors: ActorGroup
    config: GrpoConfig


@pytest.fixture(scope="session")
def stage(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The actors of a whole run; tests leave them usable, with weights that may have moved."""
    folder = tmp_path_factory.mktemp("stage")
    config = tiny_config(
        tiny_model, folder, rollout={"num_engines": 2, "stop": ["\n\n"]}, loss={"beta": 0.01}
    )
    logs = folder / "logs"
    logs.mkdir()
    rewards = {name: {"weight": s.weight, "options": {}} for name, s in config.rewards.items()}
    with connected(logs=logs, num_cpus=cpus_needed(config), weights_bytes=1 << 20) as cluster:
        starting = start_actors(
            config,
            cluster,
            model_path=str(tiny_model),
            logs=logs,
            rewards=rewards,
            on_late=_on_late,
        )
        actors = asyncio.run(starting)
        yield Stage(actors=actors, config=config)


async def _on_late() -> None:
    pass


@pytest.fixture(scope="session")
def uninterrupted_recipe(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """On-policy, fp32, twelve steps; grading is slow, so that signals find it in the middle."""
    return tiny_recipe(
        tiny_model,
        tmp_path_factory.mktemp("uninterrupted"),
        num_steps=12,
        rewards={"odd_rewards:slow_letters": 1.0, "accuracy": 1.0, "think_format": 1.0},
    )


@pytest.fixture(scope="session")
def uninterrupted(uninterrupted_recipe: dict[str, Any]) -> Run:
    """That run, from start to end; fails where something is left 15 s after it."""
    before = shared_memory()
    with running(uninterrupted_recipe, Path(uninterrupted_recipe["output_dir"])) as run:
        run.wait()
        assert_nothing_is_left(run, before)
    return run
