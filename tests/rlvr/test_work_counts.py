"""Counts of work that do not depend on the machine; each guards the speed of one part."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from rlvr.grpo.batching import make_batch
from rlvr.learner.logprobs import completion_logprobs
from rlvr.learner.packed_attention import use_packed_attention
from rlvr.learner.packing import pack_rows
from rlvr.toy.problems import problem
from rlvr.toy.toy_model import make_model, make_tokenizer
from rlvr.types import Batch, Completion, FinishReason, Group, RewardResult, Rollout
from rlvr.weight_sync.packed_weights import ALIGNMENT, pack_weights

TOKEN_BUDGET = 2048
TEMPLATE = "User: {prompt}\nAssistant:"


@pytest.fixture(scope="module")
def batch() -> Batch:
    """A step of the toy: 32 prompts, 16 completions of 12 to 36 tokens each."""
    tokenizer, rng = make_tokenizer(), np.random.default_rng(0)
    groups = []
    for index in range(32):
        task = problem(index)
        prompt = tokenizer.encode(TEMPLATE.format(prompt=task.prompt))
        rollouts = tuple(_rollout(rng) for _ in range(16))
        groups.append(
            Group(task=task, prompt_token_ids=np.array(prompt, np.int32), rollouts=rollouts)
        )
    return make_batch(
        groups,
        loss="grpo",
        max_tokens=64,
        token_budget=TOKEN_BUDGET,
        num_ranks=1,
        skip_no_signal=True,
    )


def _rollout(rng: np.random.Generator) -> Rollout:
    num_tokens = int(rng.integers(12, 37))
    completion = Completion.sampled(
        rng.integers(0, 600, num_tokens).astype(np.int32),
        np.full(num_tokens, -6.4, np.float32),
        text="",
        finish_reason=FinishReason.STOP,
        policy_version=0,
    )
    reward = RewardResult(value=1.0, grades={})
    return Rollout(completion=completion, reward=reward, advantage=float(rng.normal()))


def test_learner_computes_a_third_fewer_tokens_than_the_completions_with_their_prompts(
    batch: Batch,
) -> None:
    (parts,) = batch.micro_batches
    computed = sum(part.num_computed_tokens for part in parts)
    assert computed <= 0.65 * sum(part.num_tokens for part in parts)


def test_a_step_takes_as_many_micro_batches_as_its_tokens_need(batch: Batch) -> None:
    (parts,) = batch.micro_batches
    computed = sum(part.num_computed_tokens for part in parts)
    assert len(parts) <= -(-computed // TOKEN_BUDGET) + 1


def test_attention_pads_at_most_a_quarter(batch: Batch) -> None:
    for part in batch.micro_batches[0]:
        _, *blocks = pack_rows(part, torch.device("cpu")).blocks
        assert sum(len(block.keys) for block in blocks) <= 1.25 * part.num_tokens


def test_a_micro_batch_is_one_forward_pass(batch: Batch) -> None:
    part = batch.micro_batches[0][0]
    model = make_model(make_tokenizer(), hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=1)
    use_packed_attention(model)
    sizes: list[int] = []
    model.get_decoder().layers[0].register_forward_pre_hook(
        lambda _, inputs: sizes.append(inputs[0].shape[1])
    )
    token_ids = torch.from_numpy(part.token_ids).long()
    completion_logprobs(model, token_ids, pack_rows(part, torch.device("cpu")), temperature=1.0)
    assert len(sizes) == 1
    assert part.num_computed_tokens <= sizes[0] < part.num_computed_tokens + 64


def test_a_sync_moves_each_weight_once_and_the_tied_head_again() -> None:
    model = make_model(make_tokenizer())
    packed = pack_weights(model.state_dict().items(), policy_version=1)
    parameters = list(model.parameters())  # tied ones once
    num_numbers = sum(p.numel() for p in parameters) + model.lm_head.weight.numel()
    assert packed.buffer.nbytes <= 4 * num_numbers + ALIGNMENT * len(packed.entries)


def test_help_imports_few_modules() -> None:
    code = """
import atexit, sys
atexit.register(lambda: print(len(sys.modules)))
from rlvr.cli import main
main(["--help"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "grpo" in done.stdout and "sft" in done.stdout
    assert int(done.stdout.splitlines()[-1]) <= 150  # 113; torch alone has 1,400
