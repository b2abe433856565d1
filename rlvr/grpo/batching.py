"""Batching: groups into the micro-batches of one optimizer step, equally many for each rank.

    groups --split--> parts --assign, balanced--> micro-batches of all ranks
                                                  rows --sort by length, cut--> attention blocks

The completions of a part share its prompt, which is computed once, and nothing is padded: a
micro-batch costs its tokens. Attention alone pads the rows of a block to the longest, so rows of
similar length go together, with at most 1.25 padded tokens for each useful one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.config.training_sections import LearnerSection, LossName, LossSection
from rlvr.learner.losses import row_weights
from rlvr.types import Batch, Group, MicroBatch, Rollout

__all__ = ["make_batch", "step_batch"]

# With several ranks, the slowest determines the time of a step. Groups are cut into parts of at
# most this fraction of a micro-batch if that makes the largest micro-batch smaller: small parts
# are balanced better, but each computes its prompt.
PART_FRACS = (1, 1 / 2, 1 / 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    rollout: Rollout
    weight: float

    @property
    def num_tokens(self) -> int:
        return len(self.rollout.completion.token_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A prompt with some completions of its group."""

    group: int
    prompt_token_ids: NDArray[np.int32]  # [P]
    rows: Sequence[_Row]

    @property
    def num_tokens(self) -> int:
        """Tokens to compute."""
        return len(self.prompt_token_ids) + sum(row.num_tokens for row in self.rows)


def step_batch(
    groups: Sequence[Group], *, loss: LossSection, learner: LearnerSection, max_tokens: int
) -> Batch:
    """Return the batch of one optimizer step as a recipe's sections define it, see `make_batch`."""
    return make_batch(
        groups,
        loss=loss.name,
        max_tokens=max_tokens,
        token_budget=learner.token_budget,
        num_ranks=learner.num_ranks,
        skip_no_signal=loss.beta == 0,  # a KL term gives these rows a gradient
    )


def make_batch(
    groups: Sequence[Group],
    *,
    loss: LossName,
    max_tokens: int,
    token_budget: int,
    num_ranks: int,
    skip_no_signal: bool,
) -> Batch:
    """Return the graded rollouts in micro-batches of at most `token_budget` tokens.

    A prompt counts once for all its completions in a micro-batch; a completion that exceeds the
    budget with its prompt gets a micro-batch of its own. `max_tokens` is the limit of a completion
    (the denominator of dr_grpo). `skip_no_signal` leaves out rows whose advantage is exactly 0,
    which still count in every denominator; this is exact only without a KL term. Ranks with fewer
    rows get empty micro-batches (one token without a loss), because every rank must take part in
    each collective. The result is deterministic.
    """
    parts = _graded_parts(groups, loss=loss, max_tokens=max_tokens)
    rows = [row for part in parts for row in part.rows]
    parts = [_learned(part, skip_no_signal=skip_no_signal) for part in parts]
    num_kept = sum(len(part.rows) for part in parts)
    ranks = _assign(
        [part for part in parts if part.rows], token_budget=token_budget, num_ranks=num_ranks
    )
    return Batch(
        micro_batches=tuple(tuple(_micro_batch(one) for one in rank) for rank in ranks),
        num_loss_tokens=sum(row.rollout.completion.num_loss_tokens for row in rows),
        num_rollouts=len(rows),
        num_skipped=len(rows) - num_kept,
    )


def _graded_parts(groups: Sequence[Group], *, loss: LossName, max_tokens: int) -> list[_Part]:
    counts = [r.completion.num_loss_tokens for group in groups for r in group.graded]
    weights = iter(row_weights(loss, np.array(counts, np.int64), max_tokens=max_tokens).tolist())
    return [
        _Part(
            group=i,
            prompt_token_ids=group.prompt_token_ids,
            rows=[_Row(rollout=rollout, weight=next(weights)) for rollout in group.graded],
        )
        for i, group in enumerate(groups)
    ]


def _learned(part: _Part, *, skip_no_signal: bool) -> _Part:
    """Leave out rows without a loss token, and those without a signal."""
    rows = [row for row in part.rows if row.rollout.completion.num_loss_tokens]
    if skip_no_signal:
        rows = [row for row in rows if row.rollout.advantage != 0.0]
    return replace(part, rows=rows)


def _assign(
    parts: Sequence[_Part], *, token_budget: int, num_ranks: int
) -> list[list[list[_Part]]]:
    """Return the parts of each micro-batch of each rank: the fewest that keep the budget, each
    with about the same number of tokens.
    """
    num_bins = _round_up(_min_bins(parts, token_budget), num_ranks)
    while True:
        limits = [token_budget]
        if num_ranks > 1:
            mean = _tokens(parts) / num_bins
            limits += [min(token_budget, int(frac * mean) + 1) for frac in PART_FRACS]
        bins = min((_split_evenly(parts, limit, num_bins) for limit in limits), key=_load)
        if all(_tokens(one) <= token_budget or _num_rows(one) == 1 for one in bins):
            break
        num_bins += num_ranks
    bins.sort(key=_tokens, reverse=True)
    num_filled = sum(map(bool, bins))
    ranks: list[list[list[_Part]]] = [[] for _ in range(num_ranks)]
    for i, one in enumerate(bins[: _round_up(num_filled, num_ranks)]):  # ranks 0 1 2 2 1 0 0 1 ...
        turn, rank = divmod(i, num_ranks)
        ranks[rank if turn % 2 == 0 else num_ranks - 1 - rank].append(one)
    return ranks


def _min_bins(parts: Sequence[_Part], token_budget: int) -> int:
    """Return a lower bound, where a row that exceeds the budget fills one micro-batch."""
    room = [max(token_budget - len(part.prompt_token_ids), 1) for part in parts]
    own = [sum(min(row.num_tokens, n) for row in p.rows) for p, n in zip(parts, room, strict=True)]
    prompts = sum(len(part.prompt_token_ids) for part in parts)
    return -(-(prompts + sum(own)) // token_budget)


def _round_up(num: int, num_ranks: int) -> int:
    """Return the next multiple of `num_ranks`, and at least one for each rank."""
    return max(1, -(-num // num_ranks)) * num_ranks


def _split_evenly(parts: Sequence[_Part], limit: int, num_bins: int) -> list[list[_Part]]:
    """Assign pieces of at most `limit` tokens, largest first, to the bin with the fewest tokens."""
    bins: list[list[_Part]] = [[] for _ in range(num_bins)]
    loads = [0] * num_bins
    pieces = [piece for part in parts for piece in _split(part, limit)]
    for piece in sorted(pieces, key=lambda piece: -piece.num_tokens):
        i = loads.index(min(loads))
        bins[i].append(piece)
        loads[i] += piece.num_tokens
    return [_merge(one) for one in bins]


def _split(part: _Part, limit: int) -> list[_Part]:
    """Cut a part of more than `limit` tokens into the fewest pieces that keep it, each with the
    prompt; a single row may exceed it.
    """
    if part.num_tokens <= limit:
        return [part]
    num_own = part.num_tokens - len(part.prompt_token_ids)
    room = max(limit - len(part.prompt_token_ids), 1)
    num_pieces = max(1, min(-(-num_own // room), len(part.rows)))
    while True:
        pieces = _deal(part, num_pieces)
        if all(piece.num_tokens <= limit or len(piece.rows) <= 1 for piece in pieces):
            return pieces
        num_pieces += 1


def _deal(part: _Part, num_pieces: int) -> list[_Part]:
    """Deal the rows of a part, longest first, each to the piece with the fewest tokens."""
    pieces: list[list[_Row]] = [[] for _ in range(num_pieces)]
    loads = [0] * num_pieces
    for row in sorted(part.rows, key=lambda row: -row.num_tokens):
        i = loads.index(min(loads))
        pieces[i].append(row)
        loads[i] += row.num_tokens
    return [replace(part, rows=piece) for piece in pieces]


def _merge(pieces: Sequence[_Part]) -> list[_Part]:
    """Unite the pieces of each group, so that its prompt is computed once."""
    parts: dict[int, _Part] = {}
    for piece in pieces:
        before = parts.get(piece.group)
        rows = piece.rows if before is None else [*before.rows, *piece.rows]
        parts[piece.group] = replace(piece, rows=rows)
    return list(parts.values())


def _tokens(parts: Sequence[_Part]) -> int:
    return sum(part.num_tokens for part in parts)


def _num_rows(parts: Sequence[_Part]) -> int:
    return sum(len(part.rows) for part in parts)


def _load(bins: Sequence[Sequence[_Part]]) -> int:
    return max(map(_tokens, bins))


def _micro_batch(parts: Sequence[_Part]) -> MicroBatch:
    """Return the arrays of some parts; without parts, those of a single token without a loss."""
    rows = [(i, row) for i, part in enumerate(parts) for row in part.rows]
    prompts = [part.prompt_token_ids for part in parts] or [np.zeros(1, np.int32)]
    assert all(map(len, prompts)), "an empty prompt: nothing predicts the first token"
    lengths = np.array([len(prompts[i]) + row.num_tokens for i, row in rows], np.int64)
    order = np.argsort(-lengths, kind="stable")
    blocks = _cut(lengths[order])
    ordered = [
        rows[i] for first, last in blocks for i in sorted(order[first:last].tolist())
    ]  # within a block, the rows of a prompt are neighbours
    completions = [row.rollout.completion for _, row in ordered]
    return MicroBatch(
        token_ids=np.concatenate([*prompts, *(c.token_ids for c in completions)]).astype(np.int32),
        prompt_lengths=np.array([len(prompt) for prompt in prompts], np.int32),
        prompt_index=np.array([i for i, _ in ordered], np.int32),
        completion_lengths=np.array([row.num_tokens for _, row in ordered], np.int32),
        block_sizes=np.array([last - first for first, last in blocks], np.int32),
        loss_mask=_joined([c.loss_mask for c in completions], np.bool_),
        rollout_logprobs=_joined([c.rollout_logprobs for c in completions], np.float32),
        advantages=np.array([row.rollout.advantage for _, row in ordered], np.float32),
        row_weights=np.array([row.weight for _, row in ordered], np.float32),
    )


def _joined(arrays: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([*arrays, np.zeros(0, dtype)])


def _cut(lengths: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut rows sorted from long to short into blocks: the fewest, then the least padding.

    `best[i]` is the cost of rows i and after, in tokens, where a block counts as more than all of
    them.
    """
    num_rows = len(lengths)
    useful_before = np.concatenate(([0], np.cumsum(lengths)))
    per_block = 2 * int(lengths.sum()) + 1
    best = np.zeros(num_rows + 1, dtype=np.int64)
    width = np.ones(num_rows, dtype=np.int64)
    for i in range(num_rows - 1, -1, -1):
        padded = int(lengths[i]) * np.arange(1, num_rows - i + 1)
        useful = useful_before[i + 1 :] - useful_before[i]
        costs = (padded + best[i + 1 :])[4 * padded <= 5 * useful]
        width[i] = 1 + int(costs.argmin())  # lengths decrease, so the valid widths are a prefix
        best[i] = per_block + costs[width[i] - 1]
    blocks = []
    first = 0
    while first < num_rows:
        last = first + int(width[first])
        blocks.append((first, last))
        first = last
    return blocks
