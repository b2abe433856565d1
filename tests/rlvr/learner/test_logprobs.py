from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rlvr.errors import ConfigError
from rlvr.learner.logprobs import completion_logprobs, token_logprobs

TINY: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "initializer_range": 0.3,
}


def model_of(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    match name:
        case "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**TINY, tie_word_embeddings=False))
        case "qwen2-tied":
            return Qwen2ForCausalLM(Qwen2Config(**TINY, tie_word_embeddings=True))
        case _:
            return LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=False))


MODELS = ["qwen3", "qwen2-tied", "llama"]


def rows() -> tuple[Tensor, Tensor]:
    """3 rows of 9 positions: token_ids, and loss_mask of completions that end in padding."""
    token_ids = torch.randint(1, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    loss_mask = torch.zeros(3, 9, dtype=torch.bool)
    for row, (first, last) in enumerate([(2, 9), (4, 6), (1, 5)]):
        loss_mask[row, first:last] = True
        token_ids[row, last:] = 0
    return token_ids, loss_mask


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


class LargestTensor(TorchDispatchMode):
    """Watches every operation, the backward pass's too, for the largest tensor that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.numel = max(self.numel, leaf.numel())
        return made


def test_no_tensor_of_all_tokens_by_the_vocabulary_is_created() -> None:
    num_tokens, vocabulary = 256, 5000
    hidden = torch.randn(num_tokens, 4, requires_grad=True)
    weight = torch.randn(vocabulary, 4, requires_grad=True)
    targets = torch.randint(0, vocabulary, (num_tokens,))
    with LargestTensor() as ours:
        logprobs, _ = token_logprobs(hidden, weight, targets, temperature=1.0, chunk_tokens=32)
        torch.autograd.grad(logprobs.sum(), (hidden, weight))
    with LargestTensor() as theirs:
        torch.autograd.grad(plain(hidden, weight, targets, 1.0)[0].sum(), (hidden, weight))
    assert ours.numel == 32 * vocabulary
    assert theirs.numel == num_tokens * vocabulary


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", MODELS)
def test_each_token_is_predicted_by_the_tokens_before_it(name: str, temperature: float) -> None:
    model, (token_ids, loss_mask) = model_of(name), rows()
    logprobs, entropy = completion_logprobs(model, token_ids, loss_mask, temperature=temperature)
    for row in range(3):
        for position in range(9):
            if not loss_mask[row, position]:
                assert logprobs[row, position] == entropy[row, position] == 0.0
                continue
            before = token_ids[row : row + 1, :position]
            logits = model(before, use_cache=False).logits[0, -1] / temperature
            expected = torch.log_softmax(logits, -1)
            token = token_ids[row, position]
            torch.testing.assert_close(logprobs[row, position], expected[token], atol=1e-5, rtol=0)
            uncertainty = -(expected.exp() * expected).sum()
            torch.testing.assert_close(entropy[row, position], uncertainty, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_shifted_mask_or_shifted_tokens_give_other_values(shift: int) -> None:
    model, (token_ids, loss_mask) = model_of("qwen3"), rows()
    right, _ = completion_logprobs(model, token_ids, loss_mask, temperature=1.0)
    for tokens, mask in (
        (token_ids, loss_mask.roll(shift, 1)),
        (token_ids.roll(shift, 1), loss_mask),
    ):
        wrong, _ = completion_logprobs(model, tokens, mask, temperature=1.0)
        assert float((wrong - right).detach()[loss_mask].abs().max()) > 0.1


@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_those_of_the_models_own_logits(name: str) -> None:
    model, (token_ids, loss_mask) = model_of(name), rows()
    gradient = torch.randn(3, 9, generator=torch.Generator().manual_seed(5))
    parameters = list(model.parameters())
    logprobs, _ = completion_logprobs(model, token_ids, loss_mask, temperature=0.7)
    got = torch.autograd.grad((logprobs * gradient).sum(), parameters)
    all_logprobs = torch.log_softmax(model(token_ids, use_cache=False).logits[:, :-1] / 0.7, -1)
    expected = all_logprobs.gather(2, token_ids[:, 1:, None]).squeeze(2) * loss_mask[:, 1:]
    wanted = torch.autograd.grad((expected * gradient[:, 1:]).sum(), parameters)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing() -> None:
    model, (token_ids, loss_mask) = model_of("qwen3"), rows()
    wide, _ = completion_logprobs(model, token_ids, loss_mask, temperature=1.0)
    narrow, _ = completion_logprobs(model, token_ids[1:2, :6], loss_mask[1:2, :6], temperature=1.0)
    torch.testing.assert_close(narrow[0], wide[1, :6], atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5)])
@pytest.mark.parametrize("name", MODELS)
def test_an_empty_micro_batch_gives_every_parameter_a_gradient_of_zero(
    name: str, shape: tuple[int, int]
) -> None:
    model = model_of(name)
    logprobs, entropy = completion_logprobs(
        model,
        torch.zeros(shape, dtype=torch.int64),
        torch.zeros(shape, dtype=torch.bool),
        temperature=1.0,
    )
    assert logprobs.shape == entropy.shape == shape
    torch.autograd.backward(logprobs.sum())
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_without_gradient_the_values_are_the_same() -> None:
    model, (token_ids, loss_mask) = model_of("qwen3"), rows()
    expected, _ = completion_logprobs(model, token_ids, loss_mask, temperature=1.0)
    with torch.no_grad():
        logprobs, _ = completion_logprobs(model, token_ids, loss_mask, temperature=1.0)
    assert not logprobs.requires_grad
    torch.testing.assert_close(logprobs, expected.detach(), atol=0.0, rtol=0.0)


def test_a_model_that_caps_its_logits_is_refused() -> None:
    model = Gemma2ForCausalLM(Gemma2Config(**TINY))
    with pytest.raises(ConfigError, match=r"final_logit_softcapping is 30\.0"):
        completion_logprobs(model, *rows(), temperature=1.0)
