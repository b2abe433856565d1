from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_cases import MODELS, PADDED_MODELS, micro_batch_of, row_logprobs, tiny_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlvr.learner.logprobs import completion_logprobs
from rlvr.learner.packed_attention import use_packed_attention
from rlvr.learner.packing import AttentionBlock, PromptRun, pack_rows
from rlvr.types import MicroBatch

CPU = torch.device("cpu")
Groups = list[tuple[list[int], list[list[int]]]]

# flat order: prompts 0 1 | 2, completions 3 4 | 5 | 6
GROUPS: Groups = [([11, 12], [[21, 22], [23]]), ([13], [[24]])]


@functools.cache
def packed_model(name: str, *, is_checkpointed: bool = False) -> PreTrainedModel:
    model = tiny_model(name)
    if is_checkpointed:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert use_packed_attention(model)
    return model.train()


@functools.cache
def plain_model(name: str) -> PreTrainedModel:
    return tiny_model(name)


def flat_tokens(micro_batch: MicroBatch) -> Tensor:
    return torch.from_numpy(micro_batch.token_ids).long()


def seen_keys(block: AttentionBlock) -> list[list[int]]:
    """Flat indices of the keys that each own query attends to."""
    num_queries = len(block.queries) // block.num_rows
    keys = block.keys.view(block.num_rows, -1)
    seen = []
    for query in block.own_queries.tolist():
        row, place = divmod(query, num_queries)
        is_seen = (
            torch.arange(keys.shape[1]) <= place
            if block.mask is None
            else block.mask[row, 0, place] == 0
        )
        seen.append(keys[row, is_seen].tolist())
    return seen


@pytest.mark.parametrize("whole_rows", [False, True])
def test_indices_of_a_small_case(whole_rows: bool) -> None:
    packed = pack_rows(micro_batch_of(*GROUPS), CPU, whole_rows=whole_rows)
    assert packed.position_ids.tolist() == [[0, 1, 0, 2, 3, 2, 1]]
    assert packed.predictors.tolist() == [1, 3, 1, 2]
    prompts, completions = packed.blocks
    assert (prompts.first, prompts.last, prompts.num_rows) == (0, 3, 2)
    assert prompts.keys.tolist() == prompts.queries.tolist() == [0, 1, 2, 0]
    assert prompts.own_keys.tolist() == prompts.own_queries.tolist() == [0, 1, 2]
    assert prompts.prompts == ()
    assert prompts.mask is None
    assert (completions.first, completions.last, completions.num_rows) == (3, 7, 3)
    keys = [[0, 1, 3, 4], [0, 1, 5, 3], [2, 6, 3, 3]]  # padded with the block's first token
    assert completions.keys.view(3, 4).tolist() == keys
    assert completions.own_keys.tolist() == [2, 3, 6, 9]
    assert completions.prompts == (PromptRun(0, 2, 0, 2), PromptRun(2, 3, 2, 1))
    assert seen_keys(completions) == [[0, 1, 3], [0, 1, 3, 4], [0, 1, 5], [2, 6]]
    if whole_rows:
        assert completions.queries.view(3, 4).tolist() == keys
        assert completions.own_queries.tolist() == [2, 3, 6, 9]
        assert completions.mask is None
    else:
        assert completions.queries.view(3, 2).tolist() == [[3, 4], [5, 3], [6, 3]]
        assert completions.own_queries.tolist() == [0, 1, 2, 4]
        assert completions.mask is not None
        assert completions.mask.shape == (3, 1, 2, 4)


@pytest.mark.parametrize("whole_rows", [False, True])
def test_several_blocks_cover_the_completions_in_order(whole_rows: bool) -> None:
    micro_batch = micro_batch_of(*GROUPS, block_sizes=[1, 2])
    packed = pack_rows(micro_batch, CPU, whole_rows=whole_rows)
    assert [(block.first, block.last) for block in packed.blocks] == [(0, 3), (3, 5), (5, 7)]
    assert [block.num_rows for block in packed.blocks] == [2, 1, 2]
    assert seen_keys(packed.blocks[1]) == [[0, 1, 3], [0, 1, 3, 4]]
    assert seen_keys(packed.blocks[2]) == [[0, 1, 5], [2, 6]]
    assert packed.blocks[2].keys.tolist() == [0, 1, 5, 2, 6, 5]
    assert packed.blocks[2].prompts == (PromptRun(0, 1, 0, 2), PromptRun(1, 2, 2, 1))
    assert packed.predictors.tolist() == [1, 3, 1, 2]


def test_rows_are_whole_on_a_gpu() -> None:
    micro_batch = micro_batch_of(*GROUPS)
    on_cpu, on_gpu = (pack_rows(micro_batch, torch.device(name)) for name in ("cpu", "meta"))
    assert on_cpu.blocks[1].mask is not None
    assert on_gpu.blocks[1].mask is None
    assert {block.keys.device.type for block in on_gpu.blocks} == {"meta"}


def test_without_completions_only_the_prompts_are_packed() -> None:
    packed = pack_rows(micro_batch_of(([5, 6], []), ([7], [])), CPU)
    assert packed.predictors.tolist() == []
    [block] = packed.blocks
    assert seen_keys(block) == [[0], [0, 1], [2]]


def loss_gradients(model: PreTrainedModel, logprobs: Tensor) -> list[Tensor]:
    """Gradients of a weighted sum in all parameters."""
    weights = torch.randn(len(logprobs), generator=torch.Generator().manual_seed(5))
    return list(torch.autograd.grad(logprobs, list(model.parameters()), weights))


tokens = st.integers(0, 39)
groups_of_tokens = st.lists(
    st.tuples(
        st.lists(tokens, min_size=1, max_size=8),
        st.lists(st.lists(tokens, min_size=1, max_size=12), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=20)
@given(
    groups=groups_of_tokens,
    whole_rows=st.booleans(),
    is_checkpointed=st.booleans(),
    temperature=st.sampled_from([1.0, 0.7]),
    data=st.data(),
)
def test_packed_rows_have_the_values_and_gradients_of_each_row_alone(
    name: str,
    groups: Groups,
    whole_rows: bool,
    is_checkpointed: bool,
    temperature: float,
    data: st.DataObject,
) -> None:
    num_rows = sum(len(completions) for _, completions in groups)
    first = data.draw(st.integers(1, num_rows))
    sizes = [first, num_rows - first] if first < num_rows else [num_rows]
    micro_batch = micro_batch_of(*groups, block_sizes=sizes)
    model, own = packed_model(name, is_checkpointed=is_checkpointed), plain_model(name)
    logprobs, entropy = completion_logprobs(
        model,
        flat_tokens(micro_batch),
        pack_rows(micro_batch, CPU, whole_rows=whole_rows),
        temperature=temperature,
    )
    expected, expected_entropy = row_logprobs(own, groups, temperature=temperature)
    torch.testing.assert_close(logprobs, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-5, atol=1e-5)
    got, wanted = loss_gradients(model, logprobs), loss_gradients(own, expected)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def with_other_padding(block: AttentionBlock, num_tokens: int) -> AttentionBlock:
    """The block with random tokens of the micro-batch in place of its padding."""
    generator = torch.Generator().manual_seed(9)
    junk = torch.randint(0, num_tokens, (2, len(block.keys)), generator=generator)
    keys, queries = junk[0], junk[1, : len(block.queries)]
    keys[block.own_keys] = block.keys[block.own_keys]
    for run in block.prompts:
        rows = slice(run.first_row, run.last_row), slice(0, run.num_tokens)
        keys.view(block.num_rows, -1)[rows] = block.keys.view(block.num_rows, -1)[rows]
    queries[block.own_queries] = block.queries[block.own_queries]
    return replace(block, keys=keys, queries=queries)


@pytest.mark.parametrize("whole_rows", [False, True])
def test_padding_of_attention_reaches_neither_outputs_nor_gradients(whole_rows: bool) -> None:
    groups: Groups = [([1, 2, 3, 4, 5], [[6], [7, 8, 9, 10]]), ([11], [[12, 13], [14]])]
    micro_batch, model = micro_batch_of(*groups), packed_model("qwen3")
    packed = pack_rows(micro_batch, CPU, whole_rows=whole_rows)
    num_tokens = len(micro_batch.token_ids)
    blocks = tuple(with_other_padding(block, num_tokens) for block in packed.blocks)
    assert any((a.keys != b.keys).any() for a, b in zip(blocks, packed.blocks, strict=True))
    results = []
    for one in (packed, replace(packed, blocks=blocks)):
        logprobs, _ = completion_logprobs(model, flat_tokens(micro_batch), one, temperature=1.0)
        results.append([logprobs.detach(), *loss_gradients(model, logprobs)])
    for clean, dirty in zip(*results, strict=True):
        torch.testing.assert_close(dirty, clean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("whole_rows", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_is_close_to_float32(name: str, whole_rows: bool) -> None:
    groups: Groups = [([1, 2, 3], [[4, 5, 6, 7], [8, 9]]), ([10], [[11, 12, 13, 14, 15]])]
    micro_batch = micro_batch_of(*groups)
    model = tiny_model(name).to(torch.bfloat16)
    own = tiny_model(name).to(torch.bfloat16).float()
    use_packed_attention(model)
    packed = pack_rows(micro_batch, CPU, whole_rows=whole_rows)
    logprobs, _ = completion_logprobs(model, flat_tokens(micro_batch), packed, temperature=1.0)
    expected, _ = row_logprobs(own, groups, temperature=1.0)
    assert float((logprobs - expected).detach().abs().mean()) < 0.05
    got, wanted = loss_gradients(model, logprobs), loss_gradients(own, expected)
    for one, other in zip(got, wanted, strict=True):
        assert one.dtype == torch.bfloat16
        assert float((one.float() - other).norm()) < 0.1 * float(other.norm()) + 0.02


@pytest.mark.parametrize("name", PADDED_MODELS)
def test_models_without_packed_attention_compute_padded_rows(name: str) -> None:
    groups: Groups = [([1, 2, 3], [[4, 5, 6, 7, 8, 9], [10]]), ([11], [[12, 13, 14]])]
    micro_batch = micro_batch_of(*groups, block_sizes=[1, 2])
    model = tiny_model(name).eval()
    assert not use_packed_attention(model)
    packed = pack_rows(micro_batch, CPU)
    logprobs, entropy = completion_logprobs(
        model, flat_tokens(micro_batch), packed, temperature=0.7
    )
    expected, expected_entropy = row_logprobs(model, groups, temperature=0.7)
    torch.testing.assert_close(logprobs, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-5, atol=1e-5)
    got, wanted = loss_gradients(model, logprobs), loss_gradients(model, expected)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_saved_model_has_no_trace_of_packed_attention(tmp_path: Path) -> None:
    packed_model("qwen3").save_pretrained(tmp_path / "packed")
    tiny_model("qwen3").save_pretrained(tmp_path / "plain")
    packed, plain = (
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("packed", "plain")
    )
    assert packed == plain
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "packed")
    assert model.config._attn_implementation == "sdpa"
    assert model(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, 40)


def test_a_prompt_passes_through_the_decoder_once() -> None:
    groups: Groups = [([1] * 40, [[5], [6] * 9, [8] * 5])]
    micro_batch, model = micro_batch_of(*groups, block_sizes=[1, 2]), packed_model("llama")
    shapes: list[tuple[int, ...]] = []
    handle = model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: shapes.append(tuple(output.shape))
    )
    completion_logprobs(
        model, flat_tokens(micro_batch), pack_rows(micro_batch, CPU), temperature=1.0
    )
    handle.remove()
    assert shapes == [(1, 64, 16)]  # 40 + 15 tokens, rounded up to a multiple of 64
