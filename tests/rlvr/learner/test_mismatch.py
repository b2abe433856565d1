"""Counts of |log ratio| and the quantiles that are read from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rlvr.learner.mismatch import NUM_BINS, count_log_ratios, quantile


def counts_of(*log_ratios: float) -> list[int]:
    return count_log_ratios(torch.tensor(log_ratios)).tolist()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("scale", [1e-5, 3e-3, 0.7])
def test_a_quantile_is_that_of_the_values_and_at_most_a_sixteenth_above(
    share: float, scale: float
) -> None:
    values = np.random.default_rng(0).laplace(scale=scale, size=999).astype(np.float32)
    found = quantile(count_log_ratios(torch.from_numpy(values)).tolist(), share)
    exact = float(np.quantile(np.abs(values), share, method="inverted_cdf"))
    assert exact <= found <= exact * (1 + 1 / 16)


def test_bins_are_sixteenths_of_an_octave() -> None:
    assert [quantile(counts_of(value), 0.5) for value in (1.0, 1.0624, 1.0626, -1.99)] == [
        1.0625,
        1.0625,
        1.125,
        2.0,
    ]


def test_values_beyond_the_bins_count_at_the_ends() -> None:
    counts = counts_of(0.0, -0.0, 1e-9, 64.0, math.inf, -math.inf, math.nan)
    assert (counts[0], counts[-1], sum(counts)) == (3, 4, 7)
    assert quantile(counts, 0.4) == 2.0**-24
    assert quantile(counts, 0.5) == math.inf
    assert quantile(counts_of(63.9), 0.5) == 64.0


def test_counts_add_up_over_any_split() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    parts = torch.stack([count_log_ratios(part) for part in values.split([1, 0, 700, 299])])
    assert torch.equal(parts.sum(0), count_log_ratios(values))
    assert parts.shape == (4, NUM_BINS)


def test_without_tokens_a_quantile_is_0() -> None:
    assert quantile(counts_of(), 0.99) == 0.0


def test_one_token_far_off_moves_no_quantile_of_a_step() -> None:
    counts = counts_of(*[1e-3] * 999, 8.0)
    assert quantile(counts, 0.99) == quantile(counts, 0.5) == pytest.approx(1e-3, rel=1 / 16)


def test_bfloat16_log_ratios_are_counted_as_float32() -> None:
    assert count_log_ratios(torch.tensor([0.5], dtype=torch.bfloat16)).tolist() == counts_of(0.5)
