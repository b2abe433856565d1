"""The index tensors of a micro-batch: flat tokens, and the padded rows that attention needs.

    flat    prompt 0, prompt 1, ...,  completion 0, completion 1, ...             [N]
    rows    one block of prompts, then blocks of completions of similar length    [R, L]

A model computes each flat token once: a prompt is shared by the completions of its group, and
nothing is padded. Only attention sees rows, in which a completion follows its prompt.

Letters: N flat tokens, G prompts, B completions, M completion tokens, K of them with a loss; R rows
of a block, T its longest query, L its longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlvr.types import MicroBatch

__all__ = [
    "TOKENS_MULTIPLE",
    "AttentionBlock",
    "PackedRows",
    "PromptRun",
    "pack_rows",
    "pack_text",
    "pack_texts",
]

# Models compute a multiple of this many tokens. oneDNN compiles and keeps a product for each number
# of rows: if all batches differ, that takes a third of the time of linear layers, and gigabytes.
TOKENS_MULTIPLE = 64


class PromptRun(NamedTuple):
    """Consecutive rows of a block that share a prompt."""

    first_row: int
    last_row: int
    first_token: int  # of the prompt, in the flat order
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionBlock:
    """Rows that attend in one call, padded on the right."""

    first: int  # the block computes the attention of the flat tokens [first, last)
    last: int
    num_rows: int
    queries: Tensor  # [R * T], flat index of each query; that of padding is arbitrary
    keys: Tensor  # [R * L], flat index of each key; that of padding is arbitrary
    own_queries: Tensor  # [last - first], index into `queries` of each flat token
    own_keys: Tensor  # [last - first], index into `keys` of each flat token
    prompts: tuple[PromptRun, ...]  # whose keys the rows start with; empty in the block of prompts
    mask: Tensor | None  # [R, 1, T, L], 0 or -inf; None: query i attends to the keys up to i


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRows:
    """A micro-batch as indices."""

    position_ids: Tensor  # [1, N]
    targets: Tensor  # [K], flat index of each token that has a loss
    predictors: Tensor  # [K], flat index of the token whose output predicts it
    blocks: tuple[AttentionBlock, ...]  # the first one is that of the prompts


def pack_rows(
    micro_batch: MicroBatch, device: torch.device, *, whole_rows: bool | None = None
) -> PackedRows:
    """Return the index tensors of a micro-batch.

    `whole_rows` selects whether a completion's queries include its prompt; None: on a GPU, because
    flash attention takes no mask. Otherwise they leave it out and need a mask.
    """
    prompt_lengths = micro_batch.prompt_lengths.astype(np.int64)
    lengths = micro_batch.completion_lengths.astype(np.int64)
    prompt_starts = np.concatenate(([0], np.cumsum(prompt_lengths)[:-1]))
    ends = int(prompt_lengths.sum()) + np.cumsum(lengths)
    starts, of_row = ends - lengths, micro_batch.prompt_index
    whole_rows = device.type != "cpu" if whole_rows is None else whole_rows
    none = np.zeros(len(prompt_lengths), np.int64)
    blocks = [_block(prompt_starts, none, prompt_starts, prompt_lengths, whole_rows=True)]
    last_rows = np.cumsum(micro_batch.block_sizes)
    for first, last in zip(last_rows - micro_batch.block_sizes, last_rows, strict=True):
        prompts = of_row[first:last]
        arrays = (prompt_starts[prompts], prompt_lengths[prompts])
        block = _block(*arrays, starts[first:last], lengths[first:last], whole_rows=whole_rows)
        blocks.append(block)
    positions = [np.arange(n) for n in prompt_lengths]
    positions += [np.arange(n) + prompt_lengths[p] for n, p in zip(lengths, of_row, strict=True)]
    targets = np.arange(int(prompt_lengths.sum()), len(micro_batch.token_ids))
    predictors = targets - 1
    predictors[np.cumsum(lengths) - lengths] = (prompt_starts + prompt_lengths - 1)[of_row]
    has_loss = micro_batch.loss_mask
    return PackedRows(
        position_ids=torch.from_numpy(np.concatenate(positions))[None].to(device),
        targets=torch.from_numpy(targets[has_loss]).to(device),
        predictors=torch.from_numpy(predictors[has_loss]).to(device),
        blocks=tuple(_to(block, device) for block in blocks),
    )


def pack_text(token_ids: NDArray[np.int32]) -> MicroBatch:
    """Return a text [T] as the micro-batch of one completion: its first token is the prompt."""
    zeros = np.zeros(len(token_ids) - 1, np.float32)
    one = np.ones(1, np.int32)
    return MicroBatch(
        token_ids=token_ids,
        prompt_lengths=one,
        prompt_index=np.zeros(1, np.int32),
        completion_lengths=np.array([len(zeros)], np.int32),
        block_sizes=one,
        loss_mask=np.ones(len(zeros), np.bool_),
        rollout_logprobs=zeros,
        advantages=np.zeros(1, np.float32),
        row_weights=np.zeros(1, np.float32),
    )


def pack_texts(lengths: Sequence[int], *, texts_per_block: int) -> PackedRows:
    """Return the index tensors of whole texts, flat one after the other; each predicts itself.

    A block holds consecutive texts, so attention pads least if they are sorted by length.
    """
    num_tokens = np.asarray(lengths, np.int64)
    ends = np.cumsum(num_tokens)
    blocks = []
    for first in range(0, len(num_tokens), texts_per_block):
        of_block = slice(first, first + texts_per_block)
        starts = (ends - num_tokens)[of_block]
        none = np.zeros_like(starts)
        blocks.append(_block(starts, none, starts, num_tokens[of_block], whole_rows=True))
    positions = np.concatenate([np.arange(n) for n in num_tokens])
    predictors = np.delete(np.arange(len(positions)), ends - 1)
    return PackedRows(
        position_ids=torch.from_numpy(positions)[None],
        targets=torch.from_numpy(predictors + 1),
        predictors=torch.from_numpy(predictors),
        blocks=tuple(blocks),
    )


def _block(
    prompt_starts: NDArray[np.int64],
    prompt_lengths: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    *,
    whole_rows: bool,
) -> AttentionBlock:
    """Return a block of consecutive rows, each given by its prompt and its own flat tokens."""
    num_rows, first = len(starts), int(starts[0])
    longest = int((prompt_lengths + lengths).max())
    keys = np.full((num_rows, longest), first)
    for row, (prompt, num_prompt, start, num) in enumerate(
        zip(prompt_starts, prompt_lengths, starts, lengths, strict=True)
    ):
        keys[row, :num_prompt] = np.arange(prompt, prompt + num_prompt)
        keys[row, num_prompt : num_prompt + num] = np.arange(start, start + num)
    row_of = np.repeat(np.arange(num_rows), lengths)
    within = np.arange(len(row_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    own_keys = row_of * longest + prompt_lengths[row_of] + within
    mask = None
    if whole_rows:
        queries, own_queries = keys.ravel(), own_keys
    else:
        num_queries = int(lengths.max())
        own_queries = row_of * num_queries + within
        queries = np.full(num_rows * num_queries, first)
        queries[own_queries] = first + np.arange(len(row_of))
        last_key = prompt_lengths[:, None] + np.arange(num_queries)
        is_hidden = np.arange(longest) > last_key[:, :, None]
        mask = torch.zeros(num_rows, 1, num_queries, longest)
        mask.masked_fill_(torch.from_numpy(is_hidden)[:, None], float("-inf"))
    return AttentionBlock(
        first=first,
        last=first + len(row_of),
        num_rows=num_rows,
        queries=torch.from_numpy(queries),
        keys=torch.from_numpy(keys.ravel()),
        own_queries=torch.from_numpy(own_queries),
        own_keys=torch.from_numpy(own_keys),
        prompts=_runs(prompt_starts, prompt_lengths),
        mask=mask,
    )


def _runs(
    prompt_starts: NDArray[np.int64], prompt_lengths: NDArray[np.int64]
) -> tuple[PromptRun, ...]:
    changes = np.flatnonzero(np.diff(prompt_starts)) + 1
    firsts, lasts = np.append(0, changes), np.append(changes, len(prompt_starts))
    return tuple(
        PromptRun(int(first), int(last), int(prompt_starts[first]), int(prompt_lengths[first]))
        for first, last in zip(firsts, lasts, strict=True)
        if prompt_lengths[first]
    )


def _to(block: AttentionBlock, device: torch.device) -> AttentionBlock:
    if device.type == "cpu":
        return block
    return AttentionBlock(
        **{
            name: value.to(device) if isinstance(value, Tensor) else value
            for name in AttentionBlock.__slots__
            for value in [getattr(block, name)]
        }
    )
