"""Attention over packed rows: flat queries, keys and values in, flat outputs out.

    flat [N, C] --gather--> rows of each block [R, L, C] --attention--> [R, T, C] --> flat [N, C]

Registered as an attention implementation of transformers, so that its models compute everything
else on flat tokens. The gradient of a prompt's keys and values is the sum over the rows that share
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from rlvr.learner.packing import PackedRows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["PACKED_ATTENTION", "attend_rows", "use_packed_attention"]

PACKED_ATTENTION = "rlvr_packed"


def use_packed_attention(model: PreTrainedModel) -> bool:
    """Let a model attend over packed rows, if it can; return whether it does.

    Not supported: sliding windows, linear attention, capped scores, and models that do not use the
    attention interface of transformers. They run on padded rows.
    """
    from transformers import AttentionInterface

    config = model.config.get_text_config()
    layer_types = getattr(config, "layer_types", None)
    is_full = (
        set(layer_types) == {"full_attention"}
        if layer_types
        else getattr(config, "sliding_window", None) is None
    )
    is_plain = getattr(config, "attn_logit_softcapping", None) is None
    if not (getattr(model, "_supports_attention_backend", False) and is_full and is_plain):
        return False
    AttentionInterface.register(PACKED_ATTENTION, attend_rows)
    model.set_attn_implementation(PACKED_ATTENTION)
    return True


def attend_rows(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: PackedRows,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return the attention [1, N, heads, D] of query [1, heads, N, D], key and value.

    Tokens after those of the blocks are padding, with output 0.
    """
    has_groups = query.shape[1] != key.shape[1]
    rows = [_to_rows(tensor, packed, is_query=tensor is query) for tensor in (query, key, value)]
    outputs = [
        scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if block.mask is None else block.mask.to(q.dtype),
            is_causal=block.mask is None,
            scale=scaling,
            enable_gqa=has_groups,
        )
        .transpose(1, 2)
        .flatten(0, 1)
        .flatten(1)
        for block, q, k, v in zip(packed.blocks, *rows, strict=True)
    ]
    flat = cast("Tensor", _FromRows.apply(packed, query.shape[2], *outputs))
    return flat.view(1, query.shape[2], query.shape[1], -1), None


def _to_rows(tensor: Tensor, packed: PackedRows, *, is_query: bool) -> list[Tensor]:
    """Return the rows [R, heads, T or L, D] of each block, from [1, heads, N, D]."""
    num_heads, num_tokens, size = tensor.shape[1:]
    flat = tensor.transpose(1, 2).reshape(num_tokens, num_heads * size)
    rows = _ToRows.apply(flat, packed, is_query)
    return [
        row.view(block.num_rows, -1, num_heads, size).transpose(1, 2)
        for block, row in zip(packed.blocks, rows, strict=True)
    ]


class _ToRows(torch.autograd.Function):
    """Flat tokens [N, C] to the queries or keys [R * length, C] of each block."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, packed: PackedRows, is_query: bool) -> tuple[Tensor, ...]:
        ctx.packed, ctx.is_query, ctx.num_tokens = packed, is_query, len(flat)
        return tuple(
            flat.index_select(0, block.queries if is_query else block.keys)
            for block in packed.blocks
        )

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        blocks, is_query = ctx.packed.blocks, ctx.is_query
        grad_flat = grads[0].new_empty(ctx.num_tokens, grads[0].shape[1])
        grad_flat[blocks[-1].last :] = 0.0
        for block, grad in zip(blocks, grads, strict=True):
            own = block.own_queries if is_query else block.own_keys
            torch.index_select(grad, 0, own, out=grad_flat[block.first : block.last])
            if is_query:
                continue
            rows = grad.view(block.num_rows, -1, grad.shape[1])
            for run in block.prompts:
                shared = rows[run.first_row : run.last_row, : run.num_tokens]
                grad_flat[run.first_token : run.first_token + run.num_tokens] += shared.sum(0)
        return grad_flat, None, None


class _FromRows(torch.autograd.Function):
    """The outputs [R * T, C] of the blocks to flat tokens [N, C]."""

    @staticmethod
    def forward(ctx: Any, packed: PackedRows, num_tokens: int, *outputs: Tensor) -> Tensor:
        ctx.packed, ctx.sizes = packed, [len(output) for output in outputs]
        flat = outputs[0].new_empty(num_tokens, outputs[0].shape[1])
        flat[packed.blocks[-1].last :] = 0.0
        for block, output in zip(packed.blocks, outputs, strict=True):
            torch.index_select(output, 0, block.own_queries, out=flat[block.first : block.last])
        return flat

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (
            None,
            None,
            *(
                grad.new_zeros(size, grad.shape[1]).index_copy_(
                    0, block.own_queries, grad[block.first : block.last]
                )
                for block, size in zip(ctx.packed.blocks, ctx.sizes, strict=True)
            ),
        )
