"""The losses of GRPO, Dr. GRPO and DAPO from log-probs and advantages, and their statistics.

    loss = sum over rows i, tokens t of row_weight_i * (-min(r_it A_i, clip(r_it) A_i) + beta k3_it)

The three losses differ only in the row weights, whose denominators count all graded rollouts of the
step on all ranks, so the sum over any split into micro-batches or ranks is the loss of the whole.

Letters: K loss tokens of a micro-batch, N graded rollouts of the step. Only methods of
tensors are used, so that batching can import `row_weights` without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlvr.config.training_sections import LossName

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LossTerms", "policy_loss", "row_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """The loss of a micro-batch, and sums over its loss tokens that add up over micro-batches."""

    loss: Tensor  # scalar, with gradient: this micro-batch's share of the global loss
    clipped: Tensor  # scalar: number of tokens whose clipped term is the smaller one
    kl_sum: Tensor  # scalar, nats: k3 to the reference; 0 without one
    mismatch_sum: Tensor  # scalar, nats: k3 of KL(engine || learner)
    max_ratio_error: Tensor  # scalar: largest |ratio - 1|; combine with max, not with sum


def row_weights(
    name: LossName, num_tokens: NDArray[np.integer[Any]], *, max_tokens: int
) -> NDArray[np.float32]:
    """Return the weight [N] of each row's tokens in the global loss from N numbers of loss tokens.

    grpo:    1 / (N |o_i|), mean over rollouts of the mean over tokens (DeepSeekMath, eq. 3)
    dapo:    1 / sum of all |o_j|, mean over tokens (DAPO, arXiv 2503.14476, eq. 8)
    dr_grpo: 1 / (N max_tokens), a constant, free of length bias (Dr. GRPO, arXiv 2503.20783)
    """
    num_rows = max(len(num_tokens), 1)
    weights: NDArray[np.float64]
    match name:
        case "grpo":
            weights = 1.0 / (num_rows * np.maximum(num_tokens, 1))
        case "dapo":
            weights = np.full(len(num_tokens), 1.0 / max(int(num_tokens.sum()), 1))
        case "dr_grpo":
            weights = np.full(len(num_tokens), 1.0 / (num_rows * max_tokens))
    return weights.astype(np.float32)


def policy_loss(
    policy_logprobs: Tensor,
    rollout_logprobs: Tensor,
    ref_logprobs: Tensor | None,
    *,
    advantages: Tensor,
    weights: Tensor,
    clip_low: float,
    clip_high: float,
    beta: float,
) -> LossTerms:
    """Return the loss of DeepSeek-R1 (arXiv 2501.12948, eq. 1 and 2), per token.

    All tensors are [M]: log-probs, the advantage of each token's completion, and its row weight.
    The ratio is clipped to [1 - clip_low, 1 + clip_high]; unequal values are DAPO's clip-higher.

    Differences from the paper: its ratios are of whole outputs, ours are per token as in
    DeepSeekMath (arXiv 2402.03300, eq. 3 and 4); and pi_old is the engine's log-prob of the token,
    not recomputed by the learner.
    """
    log_ratio = policy_logprobs - rollout_logprobs
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    token_loss = -(ratio * advantages).minimum(clipped_ratio * advantages)
    if ref_logprobs is None:
        assert beta == 0.0, "beta needs a reference"
        kl = policy_logprobs.new_zeros(policy_logprobs.shape)
    else:  # R1, eq. 2: ref / pi - log(ref / pi) - 1
        kl = _k3(ref_logprobs - policy_logprobs)
    if beta > 0.0:
        token_loss = token_loss + beta * kl
    errors = (ratio.detach() - 1.0).abs()
    return LossTerms(
        loss=(weights * token_loss).sum(),
        clipped=(clipped_ratio * advantages < ratio * advantages).sum(),
        kl_sum=kl.detach().sum(),
        mismatch_sum=_k3(log_ratio.detach()).sum(),
        max_ratio_error=errors.max() if errors.numel() else errors.sum(),
    )


def _k3(log_ratio: Tensor) -> Tensor:
    """Return x - log x - 1 for x = q / p, whose mean over tokens drawn from p is KL(p || q).

    See http://joschu.net/blog/kl-approx.html. For x near 0, exp(x) - 1 in float32 is mostly noise,
    hence expm1.
    """
    return log_ratio.expm1() - log_ratio
