from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.grpo.batching import make_batch
from rlvr.types import (
    Batch,
    Completion,
    FinishReason,
    Group,
    MicroBatch,
    RewardResult,
    Rollout,
    Task,
)

PROMPT = np.array([7, 8, 9], np.int32)
Advantage = float | None


def rollout_of(tokens: Sequence[int], *, advantage: Advantage = 1.0) -> Rollout:
    """An advantage of None stands for a rollout that could not be graded."""
    completion = Completion(
        token_ids=np.array(tokens, np.int32),
        logprobs=-0.1 * np.array(tokens, np.float32),
        text="",
        finish_reason=FinishReason.STOP,
        policy_version=0,
    )
    reward = RewardResult(value=advantage, grades={})
    return Rollout(completion=completion, reward=reward, advantage=advantage)


def group_of(*rollouts: Rollout) -> Group:
    return Group(
        task=Task(id="sums/0", prompt=""), prompt_token_ids=PROMPT, rollouts=tuple(rollouts)
    )


def group_of_lengths(lengths: Sequence[int]) -> Group:
    """Completions such that prompt and completion together have these lengths, each over 3."""
    return group_of(*(rollout_of([1] * (length - 3)) for length in lengths))


def packed(
    *groups: Group, token_budget: int = 1000, num_ranks: int = 1, skip_no_signal: bool = False
) -> Batch:
    return make_batch(
        groups,
        loss="grpo",
        max_tokens=100,
        token_budget=token_budget,
        num_ranks=num_ranks,
        skip_no_signal=skip_no_signal,
    )


def parts_of(batch: Batch) -> list[MicroBatch]:
    return [part for rank in batch.micro_batches for part in rank]


def widths(batch: Batch) -> list[int]:
    """Rows of each micro-batch."""
    return [len(part.token_ids) for part in parts_of(batch)]


def test_rows_are_prompt_then_completion_then_padding() -> None:
    [[part]] = packed(
        group_of(rollout_of([4, 5], advantage=-0.5), rollout_of([1, 2, 3], advantage=0.5))
    ).micro_batches
    assert part.token_ids.tolist() == [[7, 8, 9, 1, 2, 3], [7, 8, 9, 4, 5, 0]]
    assert part.loss_mask.astype(int).tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]
    np.testing.assert_allclose(
        part.rollout_logprobs, [[0, 0, 0, -0.1, -0.2, -0.3], [0, 0, 0, -0.4, -0.5, 0]], rtol=1e-6
    )
    assert part.advantages.tolist() == [0.5, -0.5]
    np.testing.assert_allclose(part.row_weights, [1 / (2 * 3), 1 / (2 * 2)])
    assert part.num_tokens == 11
    assert part.num_computed_tokens == 12


def test_arrays_have_the_types_the_learner_expects() -> None:
    [[part]] = packed(group_of(rollout_of([1, 2]))).micro_batches
    assert part.token_ids.dtype == np.int32
    assert part.loss_mask.dtype == np.bool_
    assert part.rollout_logprobs.dtype == np.float32
    assert part.advantages.dtype == np.float32
    assert part.row_weights.dtype == np.float32


def test_what_could_not_be_graded_is_left_out_everywhere() -> None:
    batch = packed(group_of(rollout_of([1, 2]), rollout_of([5] * 50, advantage=None)))
    [[part]] = batch.micro_batches
    assert part.token_ids.tolist() == [[7, 8, 9, 1, 2]]
    assert (batch.num_rollouts, batch.num_loss_tokens, batch.num_skipped) == (1, 2, 0)
    assert part.row_weights.tolist() == [0.5]


def test_rows_without_signal_are_left_out_but_count_in_the_denominators() -> None:
    groups = group_of(rollout_of([1, 2]), rollout_of([3])), group_of(rollout_of([4], advantage=0.0))
    batch = packed(*groups, skip_no_signal=True)
    [[part]] = batch.micro_batches
    assert part.token_ids.tolist() == [[7, 8, 9, 1, 2], [7, 8, 9, 3, 0]]
    assert (batch.num_rollouts, batch.num_loss_tokens, batch.num_skipped) == (3, 4, 1)
    np.testing.assert_allclose(part.row_weights, [1 / (3 * 2), 1 / (3 * 1)])
    assert widths(packed(*groups)) == [3]


@pytest.mark.parametrize(
    "group",
    [
        group_of(),
        group_of(rollout_of([1], advantage=None)),
        group_of(rollout_of([1], advantage=0.0)),
    ],
)
def test_without_any_row_each_rank_gets_one_empty_micro_batch(group: Group) -> None:
    batch = packed(group, num_ranks=2, skip_no_signal=True)
    assert [len(rank) for rank in batch.micro_batches] == [1, 1]
    for part in parts_of(batch):
        assert part.token_ids.shape == (1, 1)
        assert not part.loss_mask.any()
        assert part.row_weights.tolist() == [0.0]
        assert part.num_tokens == 0


def test_a_row_over_the_budget_is_alone() -> None:
    batch = packed(group_of_lengths([50, 10, 10]), token_budget=20)
    assert [part.token_ids.shape for part in parts_of(batch)] == [(1, 50), (2, 10)]


def test_cuts_are_the_fewest_even_where_taking_all_that_fits_is_not() -> None:
    # 5 rows of 10 fill the budget, but then 10 and 4 have 20 computed tokens for 14
    batch = packed(group_of_lengths([10, 10, 10, 10, 10, 10, 4]), token_budget=50)
    assert sorted(widths(batch)) == [2, 5]


def test_ranks_share_what_fits_into_one_micro_batch() -> None:
    batch = packed(group_of_lengths([10] * 8), num_ranks=2)
    assert [[part.token_ids.shape for part in rank] for rank in batch.micro_batches] == [
        [(4, 10)],
        [(4, 10)],
    ]


def test_the_same_groups_give_the_same_batch() -> None:
    rng = np.random.default_rng(0)
    group = group_of_lengths([4 + int(x) for x in rng.lognormal(3, 1, 64)])
    first, second = (packed(group, token_budget=200, num_ranks=3) for _ in range(2))
    for one, other in zip(parts_of(first), parts_of(second), strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.row_weights, other.row_weights)


def spread(seed: int, *, num_rows: int, mean: float, sigma: float) -> list[int]:
    draws = np.random.default_rng(seed).lognormal(mean, sigma, num_rows)
    return [4 + int(x) for x in np.minimum(draws, 20_000)]


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(1, 60),
    mean=st.floats(0.0, 7.0),
    sigma=st.floats(0.0, 2.5),
    token_budget=st.integers(1, 5000),
    num_ranks=st.integers(1, 5),
)
def test_both_limits_hold_at_any_spread_of_lengths(
    seed: int, num_rows: int, mean: float, sigma: float, token_budget: int, num_ranks: int
) -> None:
    lengths = spread(seed, num_rows=num_rows, mean=mean, sigma=sigma)
    batch = packed(group_of_lengths(lengths), token_budget=token_budget, num_ranks=num_ranks)
    parts = [part for part in parts_of(batch) if part.num_tokens > 0]
    for part in parts:
        assert part.num_computed_tokens <= token_budget or len(part.token_ids) == 1
        assert part.num_computed_tokens <= 1.25 * part.num_tokens
    assert sum(part.num_tokens for part in parts) == sum(lengths)
    assert sum(int(part.loss_mask.sum()) for part in parts) == batch.num_loss_tokens
    rows = [3 + int(mask.sum()) for part in parts for mask in part.loss_mask]
    assert sorted(rows) == sorted(lengths)
    assert len({len(rank) for rank in batch.micro_batches}) == 1
    assert not any(part.loss_mask[:, 0].any() for part in parts_of(batch))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), num_ranks=st.integers(2, 4), sigma=st.floats(0.0, 0.8))
def test_the_busiest_rank_has_little_more_than_its_share(
    seed: int, num_ranks: int, sigma: float
) -> None:
    lengths = spread(seed, num_rows=128, mean=4.0, sigma=sigma)
    batch = packed(group_of_lengths(lengths), token_budget=4096, num_ranks=num_ranks)
    loads = [sum(part.num_computed_tokens for part in rank) for rank in batch.micro_batches]
    assert max(loads) <= 1.5 * sum(lengths) / num_ranks


def test_packing_does_not_import_torch() -> None:
    code = "import sys, rlvr.grpo.batching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
