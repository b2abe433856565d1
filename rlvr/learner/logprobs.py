"""Hidden states -> log-probs of chosen tokens, without the whole [tokens, vocabulary] logits.

    token_ids [N] --decoder--> hidden [N, H] --those that predict a completion token--> [M, H]
        --chunk by chunk: head, temperature, log-softmax, pick--> logprobs [M]

The logits of 16 rows of 8192 tokens over 152 k tokens would be 80 GB in float32; a chunk of them is
0.6 GB. The backward pass recomputes each chunk's logits from the hidden states, unless all of them
fit a few MB.

Letters: N tokens, M completion tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlvr.errors import ConfigError
from rlvr.learner.cpu_linear import linear
from rlvr.learner.packed_attention import PACKED_ATTENTION
from rlvr.learner.packing import TOKENS_MULTIPLE, PackedRows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["completion_logprobs", "token_logprobs"]

MAX_KEPT_PROBS = 2**22  # 16 MB in float32

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
    model: PreTrainedModel, token_ids: Tensor, packed: PackedRows, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return log-probs and entropies [K] of the loss tokens of a micro-batch, in their order.

    `model` is a Hugging Face causal LM, `token_ids` int64 [N]. Without loss tokens, the log-probs
    [0] still depend on all parameters, with gradient 0.

    Raises ConfigError: the model caps or scales its logits.
    """
    head = _plain_head(model)
    num_predicted = len(packed.predictors)
    targets = token_ids[packed.targets]
    is_packed = model.config._attn_implementation == PACKED_ATTENTION
    hidden = _packed_hidden if is_packed else _padded_hidden
    logprobs, entropy = token_logprobs(
        _round_up(hidden(model.get_decoder(), token_ids, packed), dim=0),
        head.weight,
        _round_up(targets, dim=0),
        temperature=temperature,
        bias=head.bias,
    )
    return logprobs[:num_predicted], entropy[:num_predicted]


def _packed_hidden(decoder: torch.nn.Module, token_ids: Tensor, packed: PackedRows) -> Tensor:
    """Return the outputs [K, H] that predict loss tokens."""
    output = decoder(
        input_ids=_round_up(token_ids[None], dim=1),
        position_ids=_round_up(packed.position_ids, dim=1),
        use_cache=False,
        packed=packed,
    )
    hidden: Tensor = output.last_hidden_state[0]
    return hidden.index_select(0, packed.predictors)


def _round_up(tensor: Tensor, *, dim: int) -> Tensor:
    """Append zeros to a multiple of TOKENS_MULTIPLE."""
    shape = list(tensor.shape)
    shape[dim] = -shape[dim] % TOKENS_MULTIPLE
    return torch.cat([tensor, tensor.new_zeros(shape)], dim) if shape[dim] else tensor


def _padded_hidden(decoder: torch.nn.Module, token_ids: Tensor, packed: PackedRows) -> Tensor:
    """Compute each row with its prompt and padding, for models without packed attention."""
    prompts, *blocks = packed.blocks
    predictors = []
    for block in blocks or [prompts]:
        rows = token_ids[block.keys].view(block.num_rows, -1)
        hidden = decoder(input_ids=rows, use_cache=False).last_hidden_state.flatten(0, 1)
        own = block.own_keys if blocks else block.own_keys[:0]
        predictors.append(hidden.index_select(0, own - 1))
    return torch.cat(predictors).index_select(0, packed.targets - prompts.last)


class _TokenLogprobs(torch.autograd.Function):
    """Compute probabilities chunk by chunk; keep them for the backward pass if they are few."""

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
        is_kept = len(hidden) * len(weight) <= MAX_KEPT_PROBS
        ctx.kept = []
        for chunk in _chunks(len(hidden), chunk_tokens):
            logits = _logits(hidden[chunk], weight, bias, temperature)
            chosen = logits.gather(1, targets[chunk, None]).squeeze(1)
            probs = logits.softmax(1)
            largest, log_largest_prob = logits.amax(1), probs.amax(1).log()
            logprobs[chunk] = (chosen - largest) + log_largest_prob
            mean_logit = torch.linalg.vecdot(probs, logits)
            entropy[chunk] = (largest - mean_logit) - log_largest_prob
            if is_kept:
                ctx.kept.append(probs)
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
        transposed = weight.t().contiguous()
        for i, chunk in enumerate(_chunks(len(hidden), ctx.chunk_tokens)):
            if ctx.kept:
                probs = ctx.kept[i]
            else:
                probs = _logits(hidden[chunk], weight, bias, ctx.temperature).softmax(1)
            scale = grad_logprobs[chunk, None] / ctx.temperature
            # d logprob / d logits = (one-hot of the target) - probs
            grad_logits = probs * -scale
            grad_logits.scatter_add_(1, targets[chunk, None], scale)
            if grad_bias is not None:
                grad_bias += grad_logits.sum(0)
            grad_logits = grad_logits.to(hidden.dtype)
            grad_hidden[chunk] = linear(grad_logits, transposed)
            grad_weight += linear(grad_logits.t(), hidden[chunk].t())
        grad_bias = None if grad_bias is None else grad_bias.to(bias.dtype)
        return grad_hidden, grad_weight.to(weight.dtype), grad_bias, None, None, None


def _chunks(num_rows: int, chunk_rows: int) -> list[slice]:
    return [slice(first, first + chunk_rows) for first in range(0, num_rows, chunk_rows)]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    """float32 [rows, V]."""
    logits = linear(hidden, weight, bias).float()
    return logits if temperature == 1.0 else logits.div_(temperature)


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
