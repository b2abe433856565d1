"""Checks on real actors: each planted fault stops the loop with the one line of its check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from actor_groups import DEADLINE_S, new_grader, packed, run_loop, stored_groups
from conftest import Stage

from rlvr.cluster.actors import Actor
from rlvr.errors import ActorFailed, CheckError
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.learner.learner_group import LearnerGroup
from rlvr.rollout.engine_pool import EnginePool
from rlvr.rollout.engine_requests import Finished, Request, SamplingSpec
from rlvr.types import Batch, Completion, MicroBatch, StepReport
from rlvr.weight_sync.packed_weights import PackedWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerWithShiftedTokens:
    """Takes the predecessor of each token for the one that was sampled."""

    learner: LearnerGroup

    async def step(self, batch: Batch, *, step: int) -> StepReport:
        ranks = tuple(tuple(map(_shifted, rank)) for rank in batch.micro_batches)
        return await self.learner.step(replace(batch, micro_batches=ranks), step=step)

    async def replace_reference(self) -> None:
        await self.learner.replace_reference()

    async def save_checkpoint(self, folder: str) -> None:
        await self.learner.save_checkpoint(folder)

    async def load_checkpoint(self, folder: str) -> None:
        await self.learner.load_checkpoint(folder)


def _shifted(micro_batch: MicroBatch) -> MicroBatch:
    first = int(micro_batch.prompt_lengths.sum())
    token_ids = micro_batch.token_ids.copy()
    token_ids[first:] = token_ids[first - 1 : -1]
    return replace(micro_batch, token_ids=token_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesWithoutLogprobs:
    """Engines whose log-probs are not numbers."""

    pool: EnginePool

    async def generate(
        self, requests: Sequence[Request], sampling: SamplingSpec, *, policy_version: int
    ) -> AsyncIterator[list[Finished]]:
        async for chunk in self.pool.generate(requests, sampling, policy_version=policy_version):
            yield [replace(item, completion=_without_logprobs(item.completion)) for item in chunk]


def _without_logprobs(completion: Completion) -> Completion:
    return replace(completion, rollout_logprobs=np.full_like(completion.rollout_logprobs, np.nan))


@pytest.fixture
def learner(stage: Stage) -> LearnerGroup:
    """The learner, with a reference that is its policy again."""
    group = LearnerGroup(stage.actors.learners, deadline_s=DEADLINE_S)
    asyncio.run(group.replace_reference())
    return group


@pytest.fixture
def config(stage: Stage, tmp_path: Path) -> GrpoConfig:
    """Two steps in a folder of this test's own."""
    return stage.config.model_copy(update={"output_dir": str(tmp_path), "num_steps": 2})


@contextmanager
def grader(rewards: Mapping[str, float], logs: Path) -> Iterator[Actor]:
    """A reward actor for one test."""
    actor = new_grader(rewards, logs)
    yield actor
    ray.kill(actor.handle)


def _with(config: GrpoConfig, section: str, **values: Any) -> GrpoConfig:
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})


def test_a_run_without_faults_passes_all_checks(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig
) -> None:
    assert run_loop(stage.actors, config).state.step == 2


def test_a_reward_that_cannot_grade_half_of_them_stops_the_run(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig, tmp_path: Path
) -> None:
    with (
        grader({"odd_rewards:half_ungraded": 1.0}, tmp_path) as own,
        pytest.raises(CheckError, match=r"completions could not be graded \(limit 20%"),
    ):
        run_loop(stage.actors, config, graders=[own])


def test_a_constant_reward_stops_the_run_after_the_limit_of_batches(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig, tmp_path: Path
) -> None:
    limited = _with(config, "checks", max_no_signal_batches=2)
    with (
        grader({"odd_rewards:constant": 1.0}, tmp_path) as own,
        pytest.raises(CheckError, match=r"for 2 rollout batches .*: all rewards are 0\.25"),
    ):
        run_loop(stage.actors, limited, graders=[own])
    assert (tmp_path / "tiny" / "metrics.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ("not_a_number", r"^rewards_own failed in grade: .*not_a_number' returned nan .*its log: "),
        (
            "dying",
            r"^rewards_own died in grade; its log: .*; it died twice while grading the same ",
        ),
    ],
)
def test_a_broken_reward_function_ends_the_run_with_one_line(
    stage: Stage,
    learner: LearnerGroup,
    config: GrpoConfig,
    tmp_path: Path,
    reward: str,
    message: str,
) -> None:
    rewards = {f"odd_rewards:{reward}": 1.0}

    async def start_grader(i: int) -> Actor:
        return new_grader(rewards, tmp_path)

    with (
        grader(rewards, tmp_path) as own,
        pytest.raises(ActorFailed, match=message) as caught,
    ):
        run_loop(
            stage.actors,
            config,
            graders=[own],
            start_grader=start_grader,
        )
    assert "\n" not in str(caught.value)


def test_a_sampling_temperature_other_than_the_learners_stops_the_run(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig
) -> None:
    other = _with(config, "rollout", temperature=0.35)  # the learner was started with 0.7
    with pytest.raises(CheckError, match=r"^mismatch .* is \d\.\d+ nats .* limit 0\.01, "):
        run_loop(stage.actors, other)


def test_a_first_ratio_off_1_stops_the_run_even_if_the_mismatch_is_below_its_limits(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig
) -> None:
    limited = _with(config, "checks", warn_mismatch=1.0, max_mismatch=1.0)
    other = _with(limited, "rollout", temperature=0.65)
    with pytest.raises(CheckError, match="first step: a ratio of learner to engine differs from 1"):
        run_loop(stage.actors, other)


def test_a_reference_that_is_not_the_policy_stops_the_first_step(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig
) -> None:
    asyncio.run(learner.step(packed(stored_groups(), stage.config), step=0))
    with pytest.raises(CheckError, match="first step: KL to the reference is"):
        run_loop(stage.actors, config)


def test_tokens_shifted_by_one_position_are_seen_as_a_mismatch(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig
) -> None:
    shifted = LearnerWithShiftedTokens(learner=learner)
    with pytest.raises(CheckError, match=r"^mismatch of learner and engine"):
        run_loop(stage.actors, config, learner=shifted)


def test_a_loss_that_is_not_finite_stops_the_run_keeps_the_batch_and_the_weights(
    stage: Stage, learner: LearnerGroup, config: GrpoConfig, tmp_path: Path
) -> None:
    before = _digest(learner)
    engines = EnginesWithoutLogprobs(pool=EnginePool(stage.actors.engines, deadline_s=DEADLINE_S))
    with pytest.raises(CheckError, match="not finite; no optimizer step was made") as caught:
        run_loop(stage.actors, config, engines=engines)
    kept = tmp_path / "tiny" / "broken_batch_000001.npz"
    assert str(caught.value).endswith(f"; the batch is saved as {kept}")
    assert np.isnan(np.load(kept)["rank0_0_rollout_logprobs"]).any()
    assert _digest(learner) == before


def _digest(learner: LearnerGroup) -> str:
    sent: PackedWeights = ray.get(asyncio.run(learner.weights(policy_version=0)))
    return sent.digest
