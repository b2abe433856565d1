"""The loop on real actors: several optimizer steps per rollout batch, a replaced reference."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from actor_groups import DEADLINE_S, run_loop
from conftest import Stage
from whole_runs import train_lines

from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.learner.learner_group import LearnerGroup

Line = dict[str, Any]


@pytest.fixture(scope="module")
def folder(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder after two rollout batches of three mini-batches each."""
    learner = LearnerGroup(stage.actors.learners, deadline_s=DEADLINE_S)
    asyncio.run(learner.replace_reference())  # other tests have moved the policy away from it
    output_dir = str(tmp_path_factory.mktemp("minibatches"))
    values = stage.config.model_dump() | {"output_dir": output_dir, "num_steps": 6}
    values["rollout"]["num_minibatches"] = 3
    values["loss"]["replace_reference_every"] = 2
    config = GrpoConfig.model_validate(values)
    run_loop(stage.actors, config)
    return config.run_dir


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
