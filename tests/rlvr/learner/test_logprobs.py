from __future__ import annotations

import math
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from packed_cases import MODELS, TINY, micro_batch_of, row_logprobs, tiny_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from rlvr.errors import ConfigError
from rlvr.learner.logprobs import MAX_KEPT_PROBS, completion_logprobs, token_logprobs
from rlvr.learner.packed_attention import use_packed_attention
from rlvr.learner.packing import pack_rows

CPU = torch.device("cpu")
GROUPS = [([7, 3], [[5, 9, 1, 4, 4, 6, 2]]), ([8, 2, 11, 30], [[12, 13]]), ([39], [[1, 2, 3, 4]])]


def model_of(name: str, path: str) -> PreTrainedModel:
    """A tiny model on the packed or the padded path."""
    model = tiny_model(name)
    if path == "packed":
        assert use_packed_attention(model)
    return model


def logprobs_of(
    model: PreTrainedModel,
    *groups: tuple[list[int], list[list[int]]],
    temperature: float,
    shift: int = 0,
) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies; `shift` moves all tokens after they were indexed."""
    micro_batch = micro_batch_of(*groups)
    token_ids = torch.from_numpy(micro_batch.token_ids).long().roll(shift)
    return completion_logprobs(
        model, token_ids, pack_rows(micro_batch, CPU), temperature=temperature
    )


def plain(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    logprobs = torch.log_softmax(torch.nn.functional.linear(hidden, weight, bias) / temperature, -1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(1, targets[:, None]).squeeze(1), entropy


def head_case(*, num_tokens: int = 13, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """hidden [N, 8], weight [30, 8], bias [30] with gradient, targets [N], a gradient [N]."""
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(num_tokens, 8, generator=generator)
    weight, bias = (torch.randn(30, n, generator=generator) for n in (8, 1))
    targets = torch.randint(0, 30, (num_tokens,), generator=generator)
    gradient = torch.randn(num_tokens, generator=generator)
    leaves = [tensor.to(dtype).requires_grad_() for tensor in (hidden, weight, bias[:, 0])]
    return [*leaves, targets, gradient]


def test_log_probs_and_entropy_of_a_two_word_vocabulary() -> None:
    # logits 2 ln 3 and 0, at temperature 2 ln 3 and 0: probabilities 3/4 and 1/4
    logprobs, entropy = token_logprobs(
        torch.tensor([[2 * math.log(3.0)]] * 2),
        torch.tensor([[1.0], [0.0]]),
        torch.tensor([0, 1]),
        temperature=2.0,
    )
    assert logprobs.tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 4)])
    expected = -(3 / 4) * math.log(3 / 4) - (1 / 4) * math.log(1 / 4)
    assert entropy.tolist() == pytest.approx([expected, expected])


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("chunk_tokens", [1, 5, 13, 1024])
def test_values_and_gradients_equal_log_softmax_in_float64(
    chunk_tokens: int, temperature: float, has_bias: bool
) -> None:
    hidden, weight, bias, targets, gradient = head_case()
    leaves = [hidden, weight, bias] if has_bias else [hidden, weight]
    logprobs, entropy = token_logprobs(
        hidden,
        weight,
        targets,
        temperature=temperature,
        chunk_tokens=chunk_tokens,
        bias=bias if has_bias else None,
    )
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected, expected_entropy = plain(
        wide[0], wide[1], targets, temperature, wide[2] if has_bias else None
    )
    torch.testing.assert_close(logprobs.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(entropy.double(), expected_entropy, rtol=1e-5, atol=1e-6)
    got = torch.autograd.grad(logprobs, leaves, gradient)
    wanted = torch.autograd.grad(expected, wide, gradient.double())
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def test_gradient_equals_a_finite_difference() -> None:
    hidden, weight, _, targets, _ = head_case(num_tokens=3)
    logprobs, _ = token_logprobs(hidden, weight, targets, temperature=0.7, chunk_tokens=2)
    for leaf, gradient in zip(
        (hidden, weight), torch.autograd.grad(logprobs.sum(), (hidden, weight)), strict=True
    ):
        direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(4))
        up, down = (
            plain(
                (hidden + step * direction if leaf is hidden else hidden).double(),
                (weight + step * direction if leaf is weight else weight).double(),
                targets,
                0.7,
            )[0].sum()
            for step in (1e-3, -1e-3)
        )
        assert float((gradient * direction).sum()) == pytest.approx(
            float((up - down).detach()) / 2e-3, rel=1e-3
        )


def test_entropy_has_no_gradient() -> None:
    hidden, weight, _, targets, _ = head_case()
    logprobs, entropy = token_logprobs(hidden, weight, targets, temperature=1.0)
    assert logprobs.requires_grad
    assert not entropy.requires_grad


def test_bfloat16_is_summed_in_float32() -> None:
    hidden, weight, _, targets, gradient = head_case(num_tokens=64, dtype=torch.bfloat16)
    logprobs, entropy = token_logprobs(hidden, weight, targets, temperature=0.7, chunk_tokens=8)
    assert logprobs.dtype == entropy.dtype == torch.float32
    logits = (hidden @ weight.T).float() / 0.7
    expected = torch.log_softmax(logits, -1).gather(1, targets[:, None]).squeeze(1)
    torch.testing.assert_close(logprobs, expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(logprobs, (hidden, weight), gradient),
        torch.autograd.grad(expected, (hidden, weight), gradient),
        strict=True,
    ):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


def test_huge_logits_stay_finite() -> None:
    hidden = torch.tensor([[1e4]], requires_grad=True)
    logprobs, entropy = token_logprobs(
        hidden, torch.tensor([[1.0], [-1.0]]), torch.tensor([1]), temperature=1.0
    )
    assert logprobs.tolist() == [-2e4]
    assert entropy.tolist() == [0.0]
    assert torch.autograd.grad(logprobs.sum(), hidden)[0].tolist() == [[-2.0]]


class Watch(TorchDispatchMode):
    """Watches every operation, the backward pass's too, for the tensors that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self._made: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.largest = max(self.largest, leaf.numel())
                self._made.append(weakref.ref(leaf))
        return made

    def kept(self) -> int:
        """Elements of the tensors that still exist."""
        return sum(tensor.numel() for ref in self._made if (tensor := ref()) is not None)


def watched(num_tokens: int, vocabulary: int) -> tuple[Watch, int]:
    """The tensors of both passes, in chunks of 32 tokens, and elements kept between them."""
    hidden = torch.randn(num_tokens, 4, requires_grad=True)
    weight = torch.randn(vocabulary, 4, requires_grad=True)
    targets = torch.randint(0, vocabulary, (num_tokens,))
    with Watch() as watch:
        logprobs, _ = token_logprobs(hidden, weight, targets, temperature=1.0, chunk_tokens=32)
        kept = watch.kept()
        torch.autograd.grad(logprobs.sum(), (hidden, weight))
    return watch, kept


def test_no_tensor_of_all_tokens_by_the_vocabulary_is_created() -> None:
    num_tokens, vocabulary = 256, 5000
    watch, _ = watched(num_tokens, vocabulary)
    hidden, weight = (torch.randn(n, 4, requires_grad=True) for n in (num_tokens, vocabulary))
    with Watch() as theirs:
        targets = torch.zeros(num_tokens, dtype=torch.int64)
        torch.autograd.grad(plain(hidden, weight, targets, 1.0)[0].sum(), (hidden, weight))
    assert watch.largest == 32 * vocabulary
    assert theirs.largest == num_tokens * vocabulary


@pytest.mark.parametrize("num_tokens", [800, 864])
def test_probabilities_are_kept_for_the_backward_pass_only_if_they_are_few(num_tokens: int) -> None:
    vocabulary = 5000
    _, kept = watched(num_tokens, vocabulary)
    if num_tokens * vocabulary <= MAX_KEPT_PROBS:
        assert kept >= num_tokens * vocabulary
    else:
        assert kept < 32 * vocabulary + 4 * (num_tokens + vocabulary)


def test_the_gradient_is_the_same_if_probabilities_are_not_kept() -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2, 3, generator=generator).repeat(450, 1).requires_grad_()
    weight = torch.randn(5000, 3, generator=generator).requires_grad_()
    targets = torch.arange(900)
    logprobs, _ = token_logprobs(hidden, weight, targets, temperature=0.7)
    expected, _ = plain(hidden, weight, targets, 0.7)
    assert len(hidden) * len(weight) > MAX_KEPT_PROBS
    got = torch.autograd.grad(logprobs.sum(), (hidden, weight))
    wanted = torch.autograd.grad(expected.sum(), (hidden, weight))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", ["packed", "padded"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", MODELS)
def test_each_token_is_predicted_by_the_tokens_before_it(
    name: str, temperature: float, path: str
) -> None:
    logprobs, entropy = logprobs_of(model_of(name, path), *GROUPS, temperature=temperature)
    model, found = tiny_model(name), zip(logprobs, entropy, strict=True)
    for prompt, [completion] in GROUPS:
        for position, token in enumerate(completion):
            before = torch.tensor([[*prompt, *completion[:position]]])
            logits = model(before, use_cache=False).logits[0, -1] / temperature
            expected = torch.log_softmax(logits, -1)
            logprob, uncertainty = next(found)
            torch.testing.assert_close(logprob, expected[token], atol=1e-5, rtol=0)
            wanted = -(expected.exp() * expected).sum()
            torch.testing.assert_close(uncertainty, wanted, atol=1e-5, rtol=0)
    assert next(found, None) is None


@pytest.mark.parametrize("path", ["packed", "padded"])
def test_only_tokens_with_a_loss_are_predicted(path: str) -> None:
    model, micro_batch = model_of("qwen3", path), micro_batch_of(*GROUPS)
    mask = np.arange(len(micro_batch.loss_mask)) % 3 != 1
    whole, masked = (
        completion_logprobs(
            model,
            torch.from_numpy(micro_batch.token_ids).long(),
            pack_rows(replace(micro_batch, loss_mask=loss_mask), torch.device("cpu")),
            temperature=1.0,
        )
        for loss_mask in (micro_batch.loss_mask, mask)
    )
    for every, some in zip(whole, masked, strict=True):
        torch.testing.assert_close(some, every[torch.from_numpy(mask)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("path", ["packed", "padded"])
def test_shifted_tokens_give_other_values(path: str, shift: int) -> None:
    model = model_of("qwen3", path)
    right, _ = logprobs_of(model, *GROUPS, temperature=1.0)
    wrong, _ = logprobs_of(model, *GROUPS, temperature=1.0, shift=shift)
    assert float((wrong - right).detach().abs().max()) > 0.1


@pytest.mark.parametrize("path", ["packed", "padded"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_those_of_the_models_own_logits(name: str, path: str) -> None:
    gradient = torch.randn(13, generator=torch.Generator().manual_seed(5))
    model, own = model_of(name, path), tiny_model(name)
    logprobs, _ = logprobs_of(model, *GROUPS, temperature=0.7)
    got = torch.autograd.grad(logprobs, list(model.parameters()), gradient)
    expected, _ = row_logprobs(own, GROUPS, temperature=0.7)
    wanted = torch.autograd.grad(expected, list(own.parameters()), gradient)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", ["packed", "padded"])
def test_other_rows_and_their_padding_change_nothing(path: str) -> None:
    model = model_of("qwen3", path)
    wide, _ = logprobs_of(model, *GROUPS, temperature=1.0)
    narrow, _ = logprobs_of(model, GROUPS[1], temperature=1.0)
    torch.testing.assert_close(narrow, wide[7:9], atol=1e-6, rtol=0)


@pytest.mark.parametrize("prompts", [[[0]], [[0, 5, 2], [4]]])
@pytest.mark.parametrize("path", ["packed", "padded"])
@pytest.mark.parametrize("name", MODELS)
def test_an_empty_micro_batch_gives_every_parameter_a_gradient_of_zero(
    name: str, path: str, prompts: list[list[int]]
) -> None:
    model = model_of(name, path)
    logprobs, entropy = logprobs_of(model, *((prompt, []) for prompt in prompts), temperature=1.0)
    assert logprobs.shape == entropy.shape == (0,)
    torch.autograd.backward(logprobs.sum())
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize("path", ["packed", "padded"])
def test_without_gradient_the_values_are_the_same(path: str) -> None:
    model = model_of("qwen3", path)
    expected, _ = logprobs_of(model, *GROUPS, temperature=1.0)
    with torch.no_grad():
        logprobs, _ = logprobs_of(model, *GROUPS, temperature=1.0)
    assert not logprobs.requires_grad
    torch.testing.assert_close(logprobs, expected.detach(), atol=0.0, rtol=0.0)


def test_a_model_that_caps_its_logits_is_refused() -> None:
    model = Gemma2ForCausalLM(Gemma2Config(**TINY))
    with pytest.raises(ConfigError, match=r"final_logit_softcapping is 30\.0"):
        logprobs_of(model, *GROUPS, temperature=1.0)
