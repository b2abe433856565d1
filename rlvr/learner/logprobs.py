"""Hidden states -> log-probs of chosen tokens, without the whole [tokens, vocabulary] logits.

    token_ids --decoder--> hidden [B, S, H] --rows that predict a completion token--> [N, H]
        --chunk by chunk: head, temperature, log-softmax, pick--> logprobs [N] --> [B, S]

The logits of 16 rows of 8192 tokens over 152 k tokens would be 80 GB in float32; a chunk of them is
0.6 GB. The backward pass recomputes each chunk's logits from the hidden states.

Letters: B rows, S positions, N positions with a loss, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlvr.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["completion_logprobs", "token_logprobs"]

# config keys that change the logits after the head, with the value that has no effect
LOGIT_KEYS = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0}


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    temperature: float,
    chunk_tokens: int = 1024,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log-softmax((hidden @ weight.T + bias) / temperature)[targets] and its entropy.

    hidden [N, H], weight [V, H], targets [N], bias [V] -> log-probs [N] and entropy [N] in nats,
    both float32, the entropy without gradient. The matrix product keeps the type of its inputs, the
    softmax is float32. At most `chunk_tokens` rows of logits exist at a time, forward and backward.
    """
    logprobs, entropy = _TokenLogprobs.apply(
        hidden, weight, bias, targets, temperature, chunk_tokens
    )
    return logprobs, entropy


def completion_logprobs(
    model: PreTrainedModel, token_ids: Tensor, loss_mask: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return [B, S] log-probs and entropies of the tokens where `loss_mask` is True, 0 elsewhere.

    `model` is a Hugging Face causal LM, `token_ids` int64 [B, S] padded on the right. Position s is
    predicted by the hidden state of s - 1, so position 0 is ignored. An attention mask is not
    needed: in a causal model no token attends to the padding after it. If `loss_mask` is all False,
    the log-probs still depend on all parameters, with gradient 0.

    Raises ConfigError: the model caps or scales its logits.
    """
    hidden = model.get_decoder()(input_ids=token_ids, use_cache=False).last_hidden_state
    row, predictor = loss_mask[:, 1:].nonzero(as_tuple=True)
    predictors = row * token_ids.shape[1] + predictor
    chosen = predictors + 1
    head = _plain_head(model)
    logprobs, entropy = token_logprobs(
        hidden.flatten(0, 1).index_select(0, predictors),
        head.weight,
        token_ids.flatten().index_select(0, chosen),
        temperature=temperature,
        bias=head.bias,
    )
    zeros = logprobs.new_zeros(token_ids.numel())
    return (
        zeros.index_copy(0, chosen, logprobs).view(token_ids.shape),
        zeros.index_copy(0, chosen, entropy).view(token_ids.shape),
    )


class _TokenLogprobs(torch.autograd.Function):
    """Compute logits chunk by chunk, and again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        logprobs = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        entropy = torch.empty_like(logprobs)
        for chunk in _chunks(len(hidden), chunk_tokens):
            logits = _logits(hidden[chunk], weight, bias, temperature)
            chosen = logits.gather(1, targets[chunk, None]).squeeze(1)
            probs = logits.softmax(1)
            largest, log_largest_prob = logits.amax(1), probs.amax(1).log()
            logprobs[chunk] = (chosen - largest) + log_largest_prob
            mean_logit = torch.linalg.vecdot(probs, logits)
            entropy[chunk] = (largest - mean_logit) - log_largest_prob
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.temperature, ctx.chunk_tokens = temperature, chunk_tokens
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_logprobs: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        # float32 even for bfloat16 weights: a sum over many chunks
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for chunk in _chunks(len(hidden), ctx.chunk_tokens):
            probs = _logits(hidden[chunk], weight, bias, ctx.temperature).softmax(1)
            scale = grad_logprobs[chunk, None] / ctx.temperature
            # d logprob / d logits = (one-hot of the target) - probs
            grad_logits = probs.mul_(-scale)
            grad_logits.scatter_add_(1, targets[chunk, None], scale)
            if grad_bias is not None:
                grad_bias += grad_logits.sum(0)
            grad_logits = grad_logits.to(hidden.dtype)
            torch.mm(grad_logits, weight, out=grad_hidden[chunk])
            grad_weight += grad_logits.T @ hidden[chunk]
        grad_bias = None if grad_bias is None else grad_bias.to(bias.dtype)
        return grad_hidden, grad_weight.to(weight.dtype), grad_bias, None, None, None


def _chunks(num_rows: int, chunk_rows: int) -> list[slice]:
    return [slice(first, first + chunk_rows) for first in range(0, num_rows, chunk_rows)]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    """float32 [rows, V]."""
    return torch.nn.functional.linear(hidden, weight, bias).float().div_(temperature)


def _plain_head(model: PreTrainedModel) -> torch.nn.Linear:
    """Return the head of a model whose logits are head(hidden) without any further change.

    Raises ConfigError for Gemma 2, Cohere, Granite and other models that cap or scale their logits.
    """
    config = model.config.get_text_config()
    for key, plain in LOGIT_KEYS.items():
        value = getattr(config, key, None)
        if value not in (None, plain):
            raise ConfigError(
                f"model {config.name_or_path}: {key} is {value} in its config.json; allowed are "
                "models whose logits are a linear map of the hidden states; choose another model"
            )
    return cast("torch.nn.Linear", model.get_output_embeddings())
