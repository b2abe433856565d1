"""Weight sync on real engines and a real learner, and the faults that its checks must see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import ray
import torch
from actor_groups import DEADLINE_S, make_requests, make_sync, packed, stored_groups, write
from conftest import Stage
from numpy.typing import NDArray

from rlvr.errors import CheckError
from rlvr.learner.learner_group import LearnerGroup
from rlvr.rollout.engine_pool import EnginePool
from rlvr.weight_sync.packed_weights import PackedWeights, pack_weights, unpack_weights

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyLearner:
    """A learner whose weights are changed on their way out."""

    learner: LearnerGroup
    fault: Callable[[PackedWeights], PackedWeights]

    async def weights(self, *, policy_version: int) -> Any:
        sent = ray.get(await self.learner.weights(policy_version=policy_version))
        return ray.put(self.fault(sent))

    async def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        return await self.learner.probe(token_ids)


def _repacked(change: Callable[[Tensors], Iterable[tuple[str, torch.Tensor]]]) -> Any:
    """A fault with a right digest, so that nothing but the probe can see it."""

    def fault(sent: PackedWeights) -> PackedWeights:
        return pack_weights(change(dict(unpack_weights(sent))), policy_version=sent.policy_version)

    return fault


def _with_swapped_linears(tensors: Tensors) -> Iterable[tuple[str, torch.Tensor]]:
    first, second = (f"model.layers.{i}.self_attn.o_proj.weight" for i in (0, 1))
    return {**tensors, first: tensors[second], second: tensors[first]}.items()


def _with_another_head(tensors: Tensors) -> Iterable[tuple[str, torch.Tensor]]:
    return {**tensors, "lm_head.weight": tensors["lm_head.weight"].flip(0)}.items()


def _without(name: str) -> Callable[[Tensors], Iterable[tuple[str, torch.Tensor]]]:
    def change(tensors: Tensors) -> Iterable[tuple[str, torch.Tensor]]:
        assert name in tensors
        return [(other, tensor) for other, tensor in tensors.items() if other != name]

    return change


def _with_one_more(name: str) -> Callable[[Tensors], Iterable[tuple[str, torch.Tensor]]]:
    return lambda tensors: {**tensors, name: torch.zeros(4)}.items()


def _with_a_corrupted_byte(sent: PackedWeights) -> PackedWeights:
    buffer = sent.buffer.copy()
    buffer[len(buffer) // 2] ^= 1
    return replace(sent, buffer=buffer)


@pytest.fixture
def moved(stage: Stage) -> LearnerGroup:
    """The learner, one step ahead of engines that were in sync with it."""
    learner = LearnerGroup(stage.actors.learners, deadline_s=DEADLINE_S)

    async def move() -> None:
        await make_sync(stage.actors, stage.config)(0)
        await learner.step(packed(stored_groups(), stage.config), step=0)

    asyncio.run(move())
    return learner


def test_after_a_learner_step_a_sync_makes_both_engines_the_learner(
    stage: Stage, moved: LearnerGroup
) -> None:
    sync = make_sync(stage.actors, stage.config)
    engines = EnginePool(stage.actors.engines, deadline_s=DEADLINE_S)

    async def errors() -> tuple[list[float], list[float]]:
        expected = await moved.probe(sync.probe_token_ids)
        before = await engines.probe(sync.probe_token_ids)
        report = await sync(1)
        after = await engines.probe(sync.probe_token_ids)
        assert report.probe_error == max(float(np.abs(a - expected).max()) for a in after)
        distances = [[float(np.abs(x - expected).max()) for x in side] for side in (before, after)]
        return distances[0], distances[1]

    before, after = asyncio.run(errors())
    assert min(before) > 1e-2  # the step has moved the learner
    assert max(after) < 1e-5


def test_the_probe_sees_weights_that_arrived_and_are_not_the_learners(
    stage: Stage, moved: LearnerGroup
) -> None:
    faulty = FaultyLearner(learner=moved, fault=_repacked(_with_swapped_linears))
    with pytest.raises(CheckError, match=r"differ by .* nats on the probe text"):
        asyncio.run(make_sync(stage.actors, stage.config, learner=faulty)(1))
    asyncio.run(make_sync(stage.actors, stage.config)(1))  # the right weights repair it


def test_a_tensor_that_the_engine_does_not_hold_after_the_load_is_named(
    stage: Stage, moved: LearnerGroup
) -> None:
    faulty = FaultyLearner(learner=moved, fault=_repacked(_with_another_head))
    with pytest.raises(CheckError, match=r"holds other values of model\.embed_tokens\.weight$"):
        asyncio.run(make_sync(stage.actors, stage.config, learner=faulty)(1))
    asyncio.run(make_sync(stage.actors, stage.config)(1))


LAYER = "model.layers.1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            _without("lm_head.weight"),
            r"did not load lm_head\.weight$",
            id="head of tied embeddings",
        ),
        pytest.param(
            _without(f"{LAYER}.input_layernorm.weight"),
            r"did not load model\.layers\.1\.input_layernorm\.weight$",
            id="norm left out",
        ),
        pytest.param(
            _without(f"{LAYER}.self_attn.k_proj.weight"),
            r"did not load model\.layers\.1\.self_attn\.qkv_proj\.weight \(in part\)$",
            id="part of a fused weight left out",
        ),
        pytest.param(
            _without(f"{LAYER}.mlp.up_proj.weight"),
            r"did not load model\.layers\.1\.mlp\.gate_up_proj\.weight \(in part\)$",
            id="half of a fused weight left out",
        ),
        pytest.param(
            _with_one_more(f"{LAYER}.mlp.down_proj.bias"),
            r"did not use model\.layers\.1\.mlp\.down_proj\.bias$",
            id="bias that the model does not have",
        ),
        pytest.param(
            _with_one_more("model.extra.weight"),
            r"model\.extra\.weight: There is no module or parameter named 'extra' in ",
            id="unknown tensor",
        ),
    ],
)
def test_a_load_that_is_not_complete_is_refused_and_names_the_tensors(
    stage: Stage, moved: LearnerGroup, change: Any, said: str
) -> None:
    faulty = FaultyLearner(learner=moved, fault=_repacked(change))
    with pytest.raises(CheckError, match=rf"^weight sync of version 1: .*{said}"):
        asyncio.run(make_sync(stage.actors, stage.config, learner=faulty)(1))
    with pytest.raises(CheckError, match="holds -1"):
        _write_one(stage)
    asyncio.run(make_sync(stage.actors, stage.config)(1))  # the right weights repair it


def test_the_digest_sees_one_corrupted_bit_and_the_engine_serves_nothing_after_it(
    stage: Stage, moved: LearnerGroup
) -> None:
    faulty = FaultyLearner(learner=moved, fault=_with_a_corrupted_byte)
    with pytest.raises(CheckError, match="received other bytes"):
        asyncio.run(make_sync(stage.actors, stage.config, learner=faulty)(1))
    with pytest.raises(CheckError, match="holds -1"):
        _write_one(stage)


def _write_one(stage: Stage) -> None:
    from test_engine import SAMPLING

    pool = EnginePool(stage.actors.engines, deadline_s=DEADLINE_S)
    requests = make_requests(stage.config, num_tasks=1, group_size=1)
    write(pool, requests, SAMPLING, policy_version=1)
