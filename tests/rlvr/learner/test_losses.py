from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlvr.config.training_sections import LossName
from rlvr.grpo.batching import make_batch
from rlvr.learner.logprobs import token_logprobs
from rlvr.learner.losses import LossTerms, policy_loss, row_weights
from rlvr.learner.packing import pack_rows
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

LOSSES: list[LossName] = ["grpo", "dr_grpo", "dapo"]
Case = dict[str, Any]


def one_token(
    ratio: float, *, advantage: float, clip_low: float, clip_high: float
) -> tuple[LossTerms, float]:
    """The loss of a single token with this ratio, and its gradient in the policy's log-prob."""
    policy_logprobs = torch.tensor([math.log(ratio) - 2.0], requires_grad=True)
    terms = policy_loss(
        policy_logprobs,
        torch.tensor([-2.0]),
        None,
        advantages=torch.tensor([advantage]),
        weights=torch.tensor([1.0]),
        clip_low=clip_low,
        clip_high=clip_high,
        beta=0.0,
    )
    [gradient] = torch.autograd.grad(terms.loss, policy_logprobs)
    return terms, float(gradient)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grpo", [1 / (3 * 2), 1 / (3 * 4), 1 / (3 * 6)]),
        ("dapo", [1 / 12, 1 / 12, 1 / 12]),
        ("dr_grpo", [1 / 24, 1 / 24, 1 / 24]),
    ],
)
def test_row_weights_have_the_papers_denominators(name: LossName, expected: list[float]) -> None:
    weights = row_weights(name, np.array([2, 4, 6]), max_tokens=8)
    assert weights.dtype == np.float32
    assert weights.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_row_weights_of_nothing_divide_by_nothing(name: LossName) -> None:
    assert row_weights(name, np.array([], np.int64), max_tokens=8).shape == (0,)
    assert np.isfinite(row_weights(name, np.array([0, 0]), max_tokens=8)).all()


def test_on_policy_the_loss_is_minus_the_advantage_and_so_is_its_gradient() -> None:
    terms, gradient = one_token(1.0, advantage=0.7, clip_low=0.2, clip_high=0.2)
    assert float(terms.loss.detach()) == pytest.approx(-0.7)
    assert gradient == pytest.approx(-0.7)
    assert float(terms.max_ratio_error) == 0.0
    assert float(terms.mismatch_sum) == 0.0


@pytest.mark.parametrize(
    ("ratio", "advantage", "has_gradient"),
    [
        (5.0, 1.0, True),
        (12.0, 1.0, False),
        (0.001, 1.0, True),
        (0.001, -1.0, True),
        (5.0, -1.0, True),
        (12.0, -1.0, True),
    ],
)
def test_epsilon_10_clips_only_ratios_over_11_of_good_completions(
    ratio: float, advantage: float, has_gradient: bool
) -> None:
    terms, gradient = one_token(ratio, advantage=advantage, clip_low=10.0, clip_high=10.0)
    assert gradient == pytest.approx(-ratio * advantage if has_gradient else 0.0)
    assert bool(terms.clipped) is not has_gradient


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_clipped"),
    [
        (1.25, 1.0, -1.25, False),  # over 1 + 0.2, under 1 + 0.28
        (1.30, 1.0, -1.28, True),
        (1.30, -1.0, 1.30, False),  # getting worse is never clipped
        (0.75, -1.0, 0.80, True),
        (0.75, 1.0, -0.75, False),
    ],
)
def test_clip_higher_has_two_bounds(
    ratio: float, advantage: float, loss: float, is_clipped: bool
) -> None:
    terms, _ = one_token(ratio, advantage=advantage, clip_low=0.2, clip_high=0.28)
    assert float(terms.loss.detach()) == pytest.approx(loss)
    assert bool(terms.clipped) is is_clipped


def test_logged_terms_have_the_values_worked_out_by_hand() -> None:
    terms = policy_loss(
        torch.tensor([math.log(0.5), math.log(0.2)]),
        torch.tensor([math.log(0.25), math.log(0.4)]),
        torch.tensor([math.log(0.25), math.log(0.2)]),
        advantages=torch.zeros(2),
        weights=torch.tensor([0.5, 0.5]),
        clip_low=0.2,
        clip_high=0.2,
        beta=0.1,
    )
    kl = 0.5 - math.log(0.5) - 1  # ref / policy is 0.5 and 1
    assert float(terms.kl_sum) == pytest.approx(kl)
    assert float(terms.loss) == pytest.approx(0.5 * 0.1 * kl)
    # policy / rollout is 2 and 0.5
    mismatch = (2 - math.log(2) - 1) + (0.5 - math.log(0.5) - 1)
    assert float(terms.mismatch_sum) == pytest.approx(mismatch)
    assert float(terms.max_ratio_error) == pytest.approx(1.0)


def test_mismatch_is_the_kl_divergence_in_the_mean_over_the_engines_tokens() -> None:
    engine, learner = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.4, 0.2])
    per_token = [
        float(
            policy_loss(
                learner[token].log().view(1),
                engine[token].log().view(1),
                None,
                advantages=torch.zeros(1),
                weights=torch.ones(1),
                clip_low=0.2,
                clip_high=0.2,
                beta=0.0,
            ).mismatch_sum
        )
        for token in range(3)
    ]
    expected = float((engine * (engine / learner).log()).sum())
    assert float(engine @ torch.tensor(per_token)) == pytest.approx(expected, rel=1e-4)


ROW_LENGTHS = np.array([3, 5, 2, 6])


def random_case(seed: int) -> Case:
    """The 16 tokens of 4 rows, float64, ratios on both sides of the clips."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(3, 16, generator=generator, dtype=torch.float64)
    policy_logprobs = -2.0 + draw[0]
    return {
        "policy_logprobs": policy_logprobs,
        "rollout_logprobs": policy_logprobs + 0.3 * draw[1],
        "ref_logprobs": policy_logprobs + 0.5 * draw[2],
        "advantages": torch.tensor([1.2, -0.4, 0.0, -2.0], dtype=torch.float64),
    }


def plain_loss(
    case: Case, name: LossName, *, clip_low: float, clip_high: float, beta: float
) -> float:
    """GRPO as the papers print it, one token at a time."""
    rows: list[list[float]] = []
    for i, end in enumerate(ROW_LENGTHS.cumsum().tolist()):
        losses = []
        for t in range(end - int(ROW_LENGTHS[i]), end):
            policy = float(case["policy_logprobs"][t])
            ratio = math.exp(policy - float(case["rollout_logprobs"][t]))
            ref_ratio = math.exp(float(case["ref_logprobs"][t]) - policy)
            advantage = float(case["advantages"][i])
            clipped = min(max(ratio, 1 - clip_low), 1 + clip_high)
            kl = ref_ratio - math.log(ref_ratio) - 1
            losses.append(-(min(ratio * advantage, clipped * advantage) - beta * kl))
        rows.append(losses)
    if name == "grpo":
        return sum(sum(losses) / len(losses) for losses in rows) / len(rows)
    if name == "dapo":
        return sum(map(sum, rows)) / sum(map(len, rows))
    return sum(sum(losses) / 8 for losses in rows) / len(rows)


def loss_of(
    case: Case, name: LossName, *, clip_low: float, clip_high: float, beta: float
) -> Tensor:
    lengths = torch.from_numpy(ROW_LENGTHS)
    weights = torch.from_numpy(row_weights(name, ROW_LENGTHS, max_tokens=8)).double()
    return policy_loss(
        case["policy_logprobs"],
        case["rollout_logprobs"],
        case["ref_logprobs"],
        advantages=case["advantages"].repeat_interleave(lengths),
        weights=weights.repeat_interleave(lengths),
        clip_low=clip_low,
        clip_high=clip_high,
        beta=beta,
    ).loss


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("clips", [(0.2, 0.2), (0.2, 0.28), (10.0, 10.0)])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_equals_a_plain_loop(name: LossName, clips: tuple[float, float], beta: float) -> None:
    for seed in range(5):
        case = random_case(seed)
        settings = {"clip_low": clips[0], "clip_high": clips[1], "beta": beta}
        expected = plain_loss(case, name, **settings)
        assert float(loss_of(case, name, **settings)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_a_finite_difference(name: LossName) -> None:
    case, step = random_case(seed=7), 1e-6
    settings = {"clip_low": 0.2, "clip_high": 0.28, "beta": 0.04}
    policy_logprobs = case["policy_logprobs"].clone().requires_grad_()
    [gradient] = torch.autograd.grad(
        loss_of(case | {"policy_logprobs": policy_logprobs}, name, **settings), policy_logprobs
    )
    for t in range(16):
        bump = torch.zeros(16, dtype=torch.float64)
        bump[t] = step
        up, down = (
            float(loss_of(case | {"policy_logprobs": moved}, name, **settings))
            for moved in (case["policy_logprobs"] + bump, case["policy_logprobs"] - bump)
        )
        assert float(gradient[t]) == pytest.approx((up - down) / (2 * step), abs=1e-8)


def test_without_tokens_all_terms_are_zero() -> None:
    policy_logprobs = torch.zeros(0, requires_grad=True)
    terms = policy_loss(
        policy_logprobs,
        torch.zeros(0),
        torch.zeros(0),
        advantages=torch.zeros(0),
        weights=torch.zeros(0),
        clip_low=0.2,
        clip_high=0.2,
        beta=0.1,
    )
    sums = (terms.loss, terms.clipped, terms.kl_sum, terms.mismatch_sum, terms.max_ratio_error)
    assert [float(term.detach()) for term in sums] == [0.0] * 5
    assert torch.autograd.grad(terms.loss, policy_logprobs)[0].shape == (0,)


def rollout_of(tokens: list[int], *, reward: float, rng: np.random.Generator) -> Rollout:
    completion = Completion.sampled(
        np.array(tokens, np.int32),
        rng.normal(-2.5, 0.3, len(tokens)).astype(np.float32),
        text="",
        finish_reason=FinishReason.STOP,
        policy_version=0,
    )
    result = RewardResult(value=reward, grades={})
    return Rollout(completion=completion, reward=result, advantage=reward)


def random_groups() -> list[Group]:
    """5 groups of 4 rollouts of 1 to 25 tokens; those of group 2 have advantage 0."""
    rng = np.random.default_rng(0)
    return [
        Group(
            task=Task(id=f"sums/{i}", prompt=""),
            prompt_token_ids=rng.integers(0, 12, 3 + i).astype(np.int32),
            rollouts=tuple(
                rollout_of(
                    rng.integers(0, 12, rng.integers(1, 26)).tolist(),
                    reward=0.0 if i == 2 else float(rng.normal()),
                    rng=rng,
                )
                for _ in range(4)
            ),
        )
        for i in range(5)
    ]


def bigram_logprobs(table: Tensor, batch: MicroBatch) -> Tensor:
    """A policy small enough for a test: the next token depends on the one before, by [V, V]."""
    token_ids = torch.from_numpy(batch.token_ids).long()
    predictors = pack_rows(batch, torch.device("cpu")).predictors
    hidden = torch.eye(len(table))[token_ids[predictors]]
    own = token_ids[len(token_ids) - len(predictors) :]
    logprobs, _ = token_logprobs(hidden, table.T, own, temperature=0.7)
    return logprobs


def loss_and_gradient(table: Tensor, batch: Batch, *, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Summed over micro-batches and ranks: loss, gradient and the logged sums."""
    table = table.clone().requires_grad_()
    loss, sums = torch.zeros(()), torch.zeros(3)
    for micro_batch in (part for rank in batch.micro_batches for part in rank):
        lengths = micro_batch.completion_lengths
        policy_logprobs = bigram_logprobs(table, micro_batch)
        terms = policy_loss(
            policy_logprobs,
            torch.from_numpy(micro_batch.rollout_logprobs),
            policy_logprobs.detach() * 0.9,
            advantages=torch.from_numpy(micro_batch.advantages.repeat(lengths)),
            weights=torch.from_numpy(micro_batch.row_weights.repeat(lengths)),
            clip_low=0.2,
            clip_high=0.28,
            beta=beta,
        )
        torch.autograd.backward(terms.loss)
        loss += terms.loss.detach()
        sums += torch.stack((terms.clipped, terms.kl_sum, terms.mismatch_sum))
    assert table.grad is not None
    return loss, table.grad, sums


SPLITS: dict[str, tuple[int, int]] = {
    "micro-batches": (64, 1),
    "one row each": (1, 1),
    "two ranks": (10_000, 2),
    "two ranks of micro-batches": (64, 2),
    "more ranks than rows": (64, 23),
}


def packed(
    groups: Sequence[Group],
    name: LossName,
    *,
    token_budget: int,
    num_ranks: int = 1,
    skip_no_signal: bool = False,
) -> Batch:
    return make_batch(
        groups,
        loss=name,
        max_tokens=25,
        token_budget=token_budget,
        num_ranks=num_ranks,
        skip_no_signal=skip_no_signal,
    )


@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", LOSSES)
def test_the_sum_over_splits_is_the_whole(name: LossName, split: str, beta: float) -> None:
    groups, table = random_groups(), torch.randn(12, 12, generator=torch.Generator().manual_seed(1))
    batches = [
        packed(groups, name, token_budget=token_budget, num_ranks=num_ranks)
        for token_budget, num_ranks in ((10_000, 1), SPLITS[split])
    ]
    whole, parts = (loss_and_gradient(table, batch, beta=beta) for batch in batches)
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-5, atol=1e-5 * float(whole[1].norm()))
    torch.testing.assert_close(parts[2], whole[2], rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("name", LOSSES)
def test_skipped_rows_change_neither_loss_nor_gradient(name: LossName) -> None:
    groups, table = random_groups(), torch.randn(12, 12, generator=torch.Generator().manual_seed(1))
    batches = [packed(groups, name, token_budget=64, skip_no_signal=skip) for skip in (False, True)]
    assert [batch.num_skipped for batch in batches] == [0, 4]
    full, skipped = (loss_and_gradient(table, batch, beta=0.0) for batch in batches)
    torch.testing.assert_close(skipped[0], full[0], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(skipped[1], full[1], rtol=1e-5, atol=1e-5 * float(full[1].norm()))
