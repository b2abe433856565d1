"""Engines: their tokens, log-probs and policy versions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from actor_groups import (
    DEADLINE_S,
    TEMPERATURE,
    make_requests,
    make_sync,
    packed,
    stored_groups,
    write,
)
from conftest import Stage
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.errors import CheckError
from rlvr.learner.learner_group import LearnerGroup
from rlvr.learner.logprobs import completion_logprobs
from rlvr.learner.packed_attention import use_packed_attention
from rlvr.learner.packing import pack_rows, pack_text
from rlvr.rollout.engine_pool import EnginePool
from rlvr.rollout.engine_requests import Request, SamplingSpec
from rlvr.types import Completion, FinishReason
from rlvr.weight_sync.packed_weights import unpack_weights

SAMPLING = SamplingSpec(temperature=TEMPERATURE, max_tokens=24, stop=(), stop_token_ids=(0,))


@pytest.fixture(scope="module")
def pools(stage: Stage) -> tuple[EnginePool, EnginePool]:
    """One engine alone, and both; all hold version 0."""
    asyncio.run(make_sync(stage.actors, stage.config)(0))
    engines = stage.actors.engines
    return EnginePool(engines[:1], deadline_s=DEADLINE_S), EnginePool(
        engines, deadline_s=DEADLINE_S
    )


def _tokens(completions: dict[tuple[int, int], Completion]) -> dict[tuple[int, int], list[int]]:
    return {key: completion.token_ids.tolist() for key, completion in completions.items()}


def test_the_same_requests_twice_give_the_same_tokens_and_log_probs(
    stage: Stage, pools: tuple[EnginePool, EnginePool]
) -> None:
    requests = make_requests(stage.config)
    first = write(pools[0], requests, SAMPLING, policy_version=0)
    again = write(pools[0], requests, SAMPLING, policy_version=0)
    assert _tokens(first) == _tokens(again)
    assert len({tuple(tokens) for tokens in _tokens(first).values()}) == 16  # 16 seeds
    for key, completion in first.items():
        np.testing.assert_array_equal(completion.rollout_logprobs, again[key].rollout_logprobs)


def test_two_engines_generate_each_completion_once_and_as_one_engine_does(
    stage: Stage, pools: tuple[EnginePool, EnginePool]
) -> None:
    requests = make_requests(stage.config)
    one = write(pools[0], requests, SAMPLING, policy_version=0)
    two = write(pools[1], requests, SAMPLING, policy_version=0)
    assert set(two) == {(i, k) for i in range(4) for k in range(4)}
    assert _tokens(two) == _tokens(one)


def test_log_probs_at_temperature_0_7_equal_the_learners(
    stage: Stage, pools: tuple[EnginePool, EnginePool], tiny_model: Path
) -> None:
    requests = make_requests(stage.config)
    completions = write(pools[1], requests, SAMPLING, policy_version=0)
    learner = LearnerGroup(stage.actors.learners, deadline_s=DEADLINE_S)
    sent = ray.get(asyncio.run(learner.weights(policy_version=0)))
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model.load_state_dict(dict(unpack_weights(sent)))
    assert use_packed_attention(model)
    for request in requests:
        completion = completions[request.task_index, request.sample_index]
        text = pack_text(np.concatenate([request.prompt_token_ids, completion.token_ids]))
        with torch.no_grad():
            expected, _ = completion_logprobs(
                model,
                torch.from_numpy(text.token_ids).long(),
                pack_rows(text, model.device),
                temperature=TEMPERATURE,
            )
        expected = expected[-len(completion.token_ids) :]
        np.testing.assert_allclose(completion.rollout_logprobs, expected.numpy(), atol=1e-4)


def test_the_end_of_sequence_token_stays_the_last_token_and_out_of_the_text(
    stage: Stage, pools: tuple[EnginePool, EnginePool], tiny_model: Path
) -> None:
    end = AutoTokenizer.from_pretrained(tiny_model).eos_token_id
    sampling = SamplingSpec(temperature=1.0, max_tokens=24, stop=(), stop_token_ids=(end,))
    requests = make_requests(stage.config, num_tasks=16, group_size=16)
    written = write(pools[1], requests, sampling, policy_version=0).values()
    stopped = [c for c in written if c.finish_reason is FinishReason.STOP]
    cut = [c for c in written if c.finish_reason is FinishReason.LENGTH]
    assert stopped and cut  # a uniform policy over 512 tokens ends one of twenty within 24
    for completion in stopped:
        assert (completion.token_ids == end).nonzero()[0].tolist() == [
            len(completion.token_ids) - 1
        ]
        assert "endoftext" not in completion.text
    for completion in cut:
        assert len(completion.token_ids) == len(completion.rollout_logprobs) == 24
        assert end not in completion.token_ids


def test_a_stop_string_ends_the_completion_and_stays_in_its_text(
    stage: Stage, pools: tuple[EnginePool, EnginePool]
) -> None:
    sampling = SamplingSpec(temperature=1.0, max_tokens=24, stop=("th",), stop_token_ids=(0,))
    requests = make_requests(stage.config, num_tasks=16)
    written = write(pools[1], requests, sampling, policy_version=0).values()
    ended = [c for c in written if "th" in c.text]
    assert ended
    assert {c.finish_reason for c in ended} == {FinishReason.STOP}
    assert {c.text[c.text.index("th") :][:2] for c in ended} == {"th"}
    assert all(
        c.text.count("th") == 1 and len(c.token_ids) == len(c.rollout_logprobs) for c in ended
    )


def test_an_engine_refuses_a_version_that_it_does_not_hold(
    stage: Stage, pools: tuple[EnginePool, EnginePool]
) -> None:
    with pytest.raises(CheckError, match="asked to generate with policy version 7, but it holds 0"):
        write(pools[0], make_requests(stage.config), SAMPLING, policy_version=7)


def _generated_across_a_sync(
    stage: Stage, pool: EnginePool, requests: Sequence[Request], *, is_restart: bool
) -> dict[tuple[int, int], Completion]:
    """Completions of a call in whose middle the learner's weights come as version 1."""
    sync = make_sync(stage.actors, stage.config)
    sync.is_restart = is_restart

    async def work() -> dict[tuple[int, int], Completion]:
        found: dict[tuple[int, int], Completion] = {}
        async for chunk in pool.generate(requests, SAMPLING, policy_version=0):
            if not found:
                await sync(1)
            found |= {(item.task_index, item.sample_index): item.completion for item in chunk}
        return found

    try:
        return asyncio.run(work())
    finally:
        asyncio.run(make_sync(stage.actors, stage.config)(0))


def test_equal_weights_that_arrive_in_mid_generation_change_nothing_but_the_versions(
    stage: Stage, pools: tuple[EnginePool, EnginePool]
) -> None:
    requests = make_requests(stage.config, num_tasks=16, group_size=16)
    expected = write(pools[1], requests, SAMPLING, policy_version=0)
    found = _generated_across_a_sync(stage, pools[1], requests, is_restart=False)
    assert _tokens(found) == _tokens(expected)
    versions = [completion.policy_versions.tolist() for completion in found.values()]
    assert all(row == sorted(row) and set(row) <= {0, 1} for row in versions)
    assert any(set(row) == {0, 1} for row in versions)
    assert any(set(row) == {1} for row in versions)  # 512 requests, 64 at a time


def test_completions_under_way_begin_again_with_new_weights_if_asked_to(
    stage: Stage, pools: tuple[EnginePool, EnginePool]
) -> None:
    requests = make_requests(stage.config, num_tasks=16, group_size=16)
    expected = write(pools[1], requests, SAMPLING, policy_version=0)
    found = _generated_across_a_sync(stage, pools[1], requests, is_restart=True)
    assert _tokens(found) == _tokens(expected)  # the seeds are the same
    versions = [set(completion.policy_versions.tolist()) for completion in found.values()]
    assert all(len(one) == 1 for one in versions)
    assert {version for one in versions for version in one} == {0, 1}


def test_other_weights_show_in_the_tokens_after_them_and_not_before(
    stage: Stage, pools: tuple[EnginePool, EnginePool]
) -> None:
    requests = make_requests(stage.config, num_tasks=16, group_size=16)
    expected = write(pools[1], requests, SAMPLING, policy_version=0)
    learner = LearnerGroup(stage.actors.learners, deadline_s=DEADLINE_S)
    asyncio.run(learner.step(packed(stored_groups(), stage.config), step=0))
    found = _generated_across_a_sync(stage, pools[1], requests, is_restart=False)
    mixed = [key for key, c in found.items() if set(c.policy_versions.tolist()) == {0, 1}]
    assert mixed
    for key in mixed:
        num_old = int((found[key].policy_versions == 0).sum())
        old, wanted = (c[key].token_ids[:num_old].tolist() for c in (found, expected))
        assert old == wanted
    assert any(_tokens(found)[key] != _tokens(expected)[key] for key in mixed)
