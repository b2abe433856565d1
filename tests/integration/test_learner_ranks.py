"""On the same rollouts, all ZeRO stages and numbers of ranks take the same step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import ray
import torch
from actor_groups import DEADLINE_S, packed, start_learners, stored_groups, tiny_config
from conftest import Stage

from rlvr.errors import CheckError
from rlvr.grpo.grpo_config import GrpoConfig
from rlvr.learner.learner_group import LearnerGroup
from rlvr.types import Batch, StepReport
from rlvr.weight_sync.packed_weights import PackedWeights, unpack_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """A learner after one step on the stored rollouts."""

    config: GrpoConfig
    learner: LearnerGroup
    report: StepReport
    weights: Mapping[str, torch.Tensor]


def _weights(learner: LearnerGroup) -> PackedWeights:
    ref = asyncio.run(learner.weights(policy_version=1))
    found: PackedWeights = ray.get(ref)
    return found


def _step(model: Path, folder: Path, *, num_ranks: int, zero_stage: int) -> Iterator[Stepped]:
    config = tiny_config(
        model,
        folder,
        learner={"num_ranks": num_ranks, "zero_stage": zero_stage, "token_budget": 128},
    )
    ranks = start_learners(config, folder)
    learner = LearnerGroup(ranks, deadline_s=DEADLINE_S)
    report = asyncio.run(learner.step(packed(stored_groups(), config), step=0))
    weights = {name: t.clone() for name, t in unpack_weights(_weights(learner))}
    yield Stepped(config=config, learner=learner, report=report, weights=weights)
    for rank in ranks:
        ray.kill(rank.handle)


@pytest.fixture(scope="module")
def one_rank(
    stage: Stage, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stepped]:
    """ZeRO 0, one process; `stage` provides the Ray cluster."""
    yield from _step(tiny_model, tmp_path_factory.mktemp("one"), num_ranks=1, zero_stage=0)


@pytest.fixture(scope="module")
def two_ranks(
    stage: Stage, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stepped]:
    """ZeRO 2, two processes."""
    yield from _step(tiny_model, tmp_path_factory.mktemp("two"), num_ranks=2, zero_stage=2)


@pytest.fixture(scope="module")
def two_ranks_of_zero_3(
    stage: Stage, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stepped]:
    """ZeRO 3, two processes."""
    yield from _step(tiny_model, tmp_path_factory.mktemp("three"), num_ranks=2, zero_stage=3)


def _assert_same_step(one: Stepped, other: Stepped) -> None:
    assert other.report.loss == pytest.approx(one.report.loss, rel=1e-5, abs=1e-7)
    assert other.report.grad_norm == pytest.approx(one.report.grad_norm, rel=1e-5)
    assert other.report.entropy == pytest.approx(one.report.entropy, rel=1e-5)
    assert set(other.weights) == set(one.weights)
    for name, expected in one.weights.items():
        difference = torch.linalg.vector_norm(other.weights[name] - expected)
        assert difference <= 1e-5 * torch.linalg.vector_norm(expected), name


def test_one_step_moves_every_weight(one_rank: Stepped, tiny_model: Path) -> None:
    from safetensors.torch import load_file

    start = load_file(tiny_model / "model.safetensors")
    assert one_rank.report.grad_norm > 0
    for name, weight in start.items():
        moved = torch.linalg.vector_norm(one_rank.weights[name] - weight)
        assert moved > 1e-4 * torch.linalg.vector_norm(weight), name


def test_two_ranks_of_zero_2_make_the_step_of_one_rank(
    one_rank: Stepped, two_ranks: Stepped
) -> None:
    _assert_same_step(one_rank, two_ranks)


def test_two_ranks_of_zero_3_make_the_step_of_one_rank(
    one_rank: Stepped, two_ranks_of_zero_3: Stepped
) -> None:
    _assert_same_step(one_rank, two_ranks_of_zero_3)


def test_smaller_micro_batches_are_the_same_step_and_more_of_them(one_rank: Stepped) -> None:
    config = one_rank.config.model_copy(
        update={"learner": one_rank.config.learner.model_copy(update={"token_budget": 4096})}
    )
    assert len(packed(stored_groups(), config).micro_batches[0]) < len(
        packed(stored_groups(), one_rank.config).micro_batches[0]
    )


@pytest.mark.parametrize("name", ["one_rank", "two_ranks", "two_ranks_of_zero_3"])
def test_a_gradient_that_is_not_finite_on_one_rank_leaves_the_weights_of_all(
    name: str, request: pytest.FixtureRequest
) -> None:
    stepped: Stepped = request.getfixturevalue(name)
    batch = _poisoned(packed(stored_groups(seed=1), stepped.config))
    before = _weights(stepped.learner)
    with pytest.raises(CheckError, match="not finite; no optimizer step was made"):
        asyncio.run(stepped.learner.step(batch, step=1))
    assert _weights(stepped.learner).digest == before.digest
    asyncio.run(stepped.learner.step(packed(stored_groups(seed=1), stepped.config), step=1))
    assert _weights(stepped.learner).digest != before.digest  # and it is not stuck


def _poisoned(batch: Batch) -> Batch:
    """An engine's log-prob of minus infinity in one row of rank 0: its ratio is infinite."""
    first, *others = batch.micro_batches[0]
    rollout_logprobs = first.rollout_logprobs.copy()
    rollout_logprobs[0] = float("-inf")
    advantages = first.advantages.copy()
    advantages[0] = -1.0  # the clip does not bound the loss where the advantage is negative
    poisoned = replace(first, rollout_logprobs=rollout_logprobs, advantages=advantages)
    return replace(batch, micro_batches=((poisoned, *others), *batch.micro_batches[1:]))


@pytest.fixture(scope="module", params=[0, 2, 3])
def bfloat16(
    stage: Stage,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[LearnerGroup]:
    """One rank in bfloat16, of a ZeRO stage; its steps are too small to change a weight."""
    folder = tmp_path_factory.mktemp("bfloat16")
    learner = {"zero_stage": request.param, "lr": 1e-12, "max_grad_norm": 1e9}
    config = tiny_config(tiny_model, folder, learner=learner)
    model = config.model.model_copy(update={"dtype": "bfloat16"})
    ranks = start_learners(config.model_copy(update={"model": model}), folder)
    yield LearnerGroup(ranks, deadline_s=DEADLINE_S)
    for rank in ranks:
        ray.kill(rank.handle)


def test_in_bfloat16_many_small_gradients_add_up_to_the_large_one(
    bfloat16: LearnerGroup, one_rank: Stepped
) -> None:
    whole = packed(stored_groups(num_groups=1, group_size=2), one_rank.config)
    micro_batch = whole.micro_batches[0][0]
    part = replace(micro_batch, row_weights=micro_batch.row_weights / 512)
    one = asyncio.run(bfloat16.step(replace(whole, micro_batches=((micro_batch,),)), step=0))
    many = asyncio.run(bfloat16.step(replace(whole, micro_batches=((part,) * 512,)), step=1))
    assert one.grad_norm > 0
    assert many.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)  # 0.5 where bfloat16 adds up


def test_in_bfloat16_a_broken_gradient_is_refused_and_a_checkpoint_comes_back(
    bfloat16: LearnerGroup, one_rank: Stepped, tmp_path: Path
) -> None:
    asyncio.run(bfloat16.save_checkpoint(str(tmp_path)))
    before = _weights(bfloat16)
    batch = packed(stored_groups(seed=1), one_rank.config)
    with pytest.raises(CheckError, match="not finite; no optimizer step was made"):
        asyncio.run(bfloat16.step(_poisoned(batch), step=2))
    assert _weights(bfloat16).digest == before.digest
    report = asyncio.run(bfloat16.step(batch, step=2))
    asyncio.run(bfloat16.load_checkpoint(str(tmp_path)))
    assert asyncio.run(bfloat16.step(batch, step=2)).grad_norm == report.grad_norm
