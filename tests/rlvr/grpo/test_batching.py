from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.config.training_sections import LossName
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

Advantage = float | None


def rollout_of(tokens: Sequence[int], *, advantage: Advantage = 1.0) -> Rollout:
    """An advantage of None stands for a rollout that could not be graded."""
    completion = Completion.sampled(
        np.array(tokens, np.int32),
        -0.1 * np.array(tokens, np.float32),
        text="",
        finish_reason=FinishReason.STOP,
        policy_version=0,
    )
    reward = RewardResult(value=advantage, grades={})
    return Rollout(completion=completion, reward=reward, advantage=advantage)


def group_of(*rollouts: Rollout, prompt: Sequence[int] = (7, 8, 9)) -> Group:
    return Group(
        task=Task(id="sums/0", prompt=""),
        prompt_token_ids=np.array(prompt, np.int32),
        rollouts=tuple(rollouts),
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


def completions_of(part: MicroBatch) -> list[tuple[list[int], list[int]]]:
    """Prompt and completion of each row."""
    *prompts, own = np.split(part.token_ids, np.cumsum(part.prompt_lengths))
    completions = np.split(own, np.cumsum(part.completion_lengths)[:-1])
    pairs = zip(part.prompt_index, completions, strict=True)
    return [(prompts[i].tolist(), completion.tolist()) for i, completion in pairs]


def row_lengths(part: MicroBatch) -> list[int]:
    """Tokens of each row with its prompt."""
    return [len(prompt) + len(completion) for prompt, completion in completions_of(part)]


def num_rows(batch: Batch) -> list[int]:
    """Rows of each micro-batch."""
    return [len(part.completion_lengths) for part in parts_of(batch)]


def test_a_micro_batch_is_prompts_then_completions() -> None:
    [[part]] = packed(
        group_of(rollout_of([4, 5], advantage=-0.5), rollout_of([1, 2, 3], advantage=0.5)),
        group_of(rollout_of([6, 6], advantage=2.0), prompt=[0, 1]),
    ).micro_batches
    assert part.token_ids.tolist() == [7, 8, 9, 0, 1, 4, 5, 1, 2, 3, 6, 6]
    assert part.prompt_lengths.tolist() == [3, 2]
    assert part.prompt_index.tolist() == [0, 0, 1]
    assert part.completion_lengths.tolist() == [2, 3, 2]
    assert part.block_sizes.tolist() == [3]  # 18 padded tokens for 15
    np.testing.assert_allclose(
        part.rollout_logprobs, [-0.4, -0.5, -0.1, -0.2, -0.3, -0.6, -0.6], rtol=1e-6
    )
    assert part.advantages.tolist() == [-0.5, 0.5, 2.0]
    np.testing.assert_allclose(part.row_weights, [1 / (3 * 2), 1 / (3 * 3), 1 / (3 * 2)])
    assert part.num_tokens == 3 * 2 + 2 + 7
    assert part.num_computed_tokens == 12


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_tokens_that_the_policy_did_not_sample_are_context_without_a_weight(loss: LossName) -> None:
    forced = Completion.forced(np.array([8, 9], np.int32), policy_version=0)
    first, last = rollout_of([4, 5]).completion, rollout_of([6]).completion
    whole = first.followed_by(forced).followed_by(last)
    rollout = replace(rollout_of([1]), completion=whole)
    batch = make_batch(
        [group_of(rollout, rollout_of([1, 2, 3]))],
        loss=loss,
        max_tokens=100,
        token_budget=1000,
        num_ranks=1,
        skip_no_signal=False,
    )
    [[part]] = batch.micro_batches
    assert part.token_ids.tolist() == [7, 8, 9, 4, 5, 8, 9, 6, 1, 2, 3]
    assert part.loss_mask.tolist() == [True, True, False, False, True, True, True, True]
    assert batch.num_loss_tokens == 6
    weights = {"grpo": [1 / 6, 1 / 6], "dapo": [1 / 6, 1 / 6], "dr_grpo": [1 / 200, 1 / 200]}[loss]
    np.testing.assert_allclose(part.row_weights, weights)


def test_a_completion_without_a_sampled_token_is_left_out_of_the_micro_batches() -> None:
    forced = Completion.forced(np.array([8, 9], np.int32), policy_version=0)
    batch = packed(group_of(replace(rollout_of([1]), completion=forced), rollout_of([1, 2])))
    [part] = parts_of(batch)
    assert part.completion_lengths.tolist() == [2]
    assert (batch.num_rollouts, batch.num_loss_tokens) == (2, 2)


def test_arrays_have_the_types_the_learner_expects() -> None:
    [[part]] = packed(group_of(rollout_of([1, 2]))).micro_batches
    integers = ("token_ids", "prompt_lengths", "prompt_index", "completion_lengths", "block_sizes")
    assert {getattr(part, name).dtype for name in integers} == {np.dtype(np.int32)}
    floats = ("rollout_logprobs", "advantages", "row_weights")
    assert {getattr(part, name).dtype for name in floats} == {np.dtype(np.float32)}


def test_what_could_not_be_graded_is_left_out_everywhere() -> None:
    batch = packed(group_of(rollout_of([1, 2]), rollout_of([5] * 50, advantage=None)))
    [[part]] = batch.micro_batches
    assert part.token_ids.tolist() == [7, 8, 9, 1, 2]
    assert (batch.num_rollouts, batch.num_loss_tokens, batch.num_skipped) == (1, 2, 0)
    assert part.row_weights.tolist() == [0.5]


def test_rows_without_signal_are_left_out_but_count_in_the_denominators() -> None:
    groups = group_of(rollout_of([1, 2]), rollout_of([3])), group_of(rollout_of([4], advantage=0.0))
    batch = packed(*groups, skip_no_signal=True)
    [[part]] = batch.micro_batches
    assert part.token_ids.tolist() == [7, 8, 9, 1, 2, 3]
    assert (batch.num_rollouts, batch.num_loss_tokens, batch.num_skipped) == (3, 4, 1)
    np.testing.assert_allclose(part.row_weights, [1 / (3 * 2), 1 / (3 * 1)])
    assert num_rows(packed(*groups)) == [3]


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
        assert part.token_ids.shape == part.prompt_lengths.shape == (1,)
        for name in ("prompt_index", "completion_lengths", "block_sizes", "row_weights"):
            assert getattr(part, name).shape == (0,)
        assert part.num_tokens == 0
        assert part.num_computed_tokens == 1


def test_a_row_over_the_budget_is_alone() -> None:
    batch = packed(group_of_lengths([50, 10, 10]), token_budget=20)
    assert [row_lengths(part) for part in parts_of(batch)] == [[50], [10, 10]]


def test_a_budget_smaller_than_a_group_splits_it() -> None:
    # 3 + 2 * 6 tokens do not fit, although 3 + 18 / 2 would
    batch = packed(group_of_lengths([9, 9, 9]), token_budget=12)
    assert [row_lengths(part) for part in parts_of(batch)] == [[9], [9], [9]]
    batch = packed(group_of_lengths([9] * 4), token_budget=15)
    assert [part.num_computed_tokens for part in parts_of(batch)] == [15, 15]
    assert [completions_of(part)[0][0] for part in parts_of(batch)] == [[7, 8, 9]] * 2


def test_blocks_are_the_fewest_then_those_with_the_least_padding() -> None:
    [[part]] = packed(group_of_lengths([10] * 6 + [4])).micro_batches
    assert part.block_sizes.tolist() == [7]  # 70 padded tokens for 64
    # [20, 14] and [11] would pad 40 + 11, [20] and [14, 11] only 20 + 28
    [[part]] = packed(group_of_lengths([20, 14, 11])).micro_batches
    assert part.block_sizes.tolist() == [1, 2]
    assert row_lengths(part) == [20, 14, 11]
    # a first block of all rows of 10 that fit, [10] * 5 + [4], would leave [4] * 3 and no better
    [[part]] = packed(group_of_lengths([10] * 5 + [4] * 4)).micro_batches
    assert part.block_sizes.tolist() == [5, 4]


def test_in_a_block_the_rows_of_a_prompt_are_neighbours() -> None:
    groups = [
        group_of(rollout_of([1] * 9), rollout_of([1] * 10), prompt=[5] * 4),
        group_of(rollout_of([2] * 10), rollout_of([2] * 9), prompt=[6] * 4),
    ]
    [[part]] = packed(*groups).micro_batches
    assert part.block_sizes.tolist() == [4]
    assert part.prompt_index.tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])


def test_ranks_share_what_fits_into_one_micro_batch() -> None:
    batch = packed(group_of_lengths([10] * 8), num_ranks=2)
    assert [[row_lengths(part) for part in rank] for rank in batch.micro_batches] == [
        [[10] * 4],
        [[10] * 4],
    ]
    assert [part.prompt_lengths.tolist() for part in parts_of(batch)] == [[3], [3]]


def test_groups_with_long_prompts_stay_whole_on_a_rank() -> None:
    groups = [group_of(*[rollout_of([i] * 10)] * 16, prompt=[i] * 1000) for i in range(2)]
    batch = packed(*groups, token_budget=8192, num_ranks=2)
    assert [part.num_computed_tokens for part in parts_of(batch)] == [1160, 1160]


def test_the_same_groups_give_the_same_batch() -> None:
    rng = np.random.default_rng(0)
    groups = [group_of_lengths([4 + int(x) for x in rng.lognormal(3, 1, 16)]) for _ in range(4)]
    first, second = (packed(*groups, token_budget=200, num_ranks=3) for _ in range(2))
    for one, other in zip(parts_of(first), parts_of(second), strict=True):
        for name in MicroBatch.__slots__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def spread(rng: np.random.Generator, *, num_rows: int, mean: float, sigma: float) -> list[int]:
    draws = rng.lognormal(mean, sigma, num_rows)
    return [4 + int(x) for x in np.minimum(draws, 20_000)]


def spread_groups(
    seed: int, *, num_groups: int, mean: float, sigma: float, max_prompt: int
) -> list[Group]:
    """Groups of 1 to 12 rows, each with a prompt of its own; the i-th token of a row is i."""
    rng = np.random.default_rng(seed)
    return [
        group_of(
            *(
                rollout_of(range(length))
                for length in spread(rng, num_rows=rng.integers(1, 13), mean=mean, sigma=sigma)
            ),
            prompt=[i] * int(rng.integers(1, max_prompt + 1)),
        )
        for i in range(num_groups)
    ]


def rows_of(groups: Sequence[Group]) -> list[tuple[list[int], list[int]]]:
    return [
        (group.prompt_token_ids.tolist(), rollout.completion.token_ids.tolist())
        for group in groups
        for rollout in group.rollouts
    ]


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_groups=st.integers(1, 8),
    mean=st.floats(0.0, 6.0),
    sigma=st.floats(0.0, 2.0),
    max_prompt=st.sampled_from([1, 30, 500]),
    token_budget=st.integers(1, 5000),
    num_ranks=st.integers(1, 5),
)
def test_limits_hold_at_any_spread_of_lengths(
    seed: int,
    num_groups: int,
    mean: float,
    sigma: float,
    max_prompt: int,
    token_budget: int,
    num_ranks: int,
) -> None:
    groups = spread_groups(
        seed, num_groups=num_groups, mean=mean, sigma=sigma, max_prompt=max_prompt
    )
    batch = packed(*groups, token_budget=token_budget, num_ranks=num_ranks)
    assert len({len(rank) for rank in batch.micro_batches}) == 1
    parts = [part for part in parts_of(batch) if part.num_tokens > 0]
    assert len(parts_of(batch)) - len(parts) < num_ranks
    for part in parts:
        assert part.num_computed_tokens <= token_budget or len(part.completion_lengths) == 1
        prompts = {prompt[0] for prompt, _ in completions_of(part)}
        assert len(part.prompt_lengths) == len(prompts)  # each once
        lengths = np.array(row_lengths(part))
        for block in np.split(lengths, np.cumsum(part.block_sizes)[:-1]):
            assert block.max() * len(block) <= 1.25 * block.sum()
    assert sorted(row for part in parts for row in completions_of(part)) == sorted(rows_of(groups))
    assert sum(len(part.rollout_logprobs) for part in parts) == batch.num_loss_tokens
    assert sum(part.num_tokens for part in parts) == sum(
        len(p) + len(c) for p, c in rows_of(groups)
    )


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), num_ranks=st.integers(2, 4), sigma=st.floats(0.0, 0.8))
def test_the_busiest_rank_has_little_more_than_its_share(
    seed: int, num_ranks: int, sigma: float
) -> None:
    lengths = spread(np.random.default_rng(seed), num_rows=128, mean=4.0, sigma=sigma)
    batch = packed(group_of_lengths(lengths), token_budget=4096, num_ranks=num_ranks)
    loads = [sum(part.num_computed_tokens for part in rank) for rank in batch.micro_batches]
    assert max(loads) <= 1.5 * sum(lengths) / num_ranks


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), num_ranks=st.integers(2, 4), sigma=st.floats(0.0, 0.8))
def test_micro_batches_are_about_equal(seed: int, num_ranks: int, sigma: float) -> None:
    groups = spread_groups(seed, num_groups=32, mean=4.0, sigma=sigma, max_prompt=60)
    batch = packed(*groups, token_budget=2048, num_ranks=num_ranks)
    loads = [part.num_computed_tokens for part in parts_of(batch)]
    assert max(loads) <= 1.25 * sum(loads) / len(loads)
    unshared = sum(len(prompt) + len(completion) for prompt, completion in rows_of(groups))
    assert sum(loads) <= unshared


def test_packing_does_not_import_torch() -> None:
    code = "import sys, rlvr.grpo.batching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_completion_without_tokens_counts_and_is_not_computed() -> None:
    batch = packed(group_of(rollout_of([]), rollout_of([1, 2])))
    (part,) = parts_of(batch)
    assert part.completion_lengths.tolist() == [2]
    assert (batch.num_rollouts, batch.num_skipped) == (2, 1)
