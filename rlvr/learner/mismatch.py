"""Quantiles of |log ratio| between learner and engine, from counts.

A mean is a poor alarm: one token with a log ratio of 8 adds 2,972 to a sum of k3. Counts in fixed
bins are integers, so their sum over micro-batches and ranks does not depend on the order, and one
all-reduce gives the quantiles of the whole step.

    log ratios [K] --count--> [NUM_BINS], summed over micro-batches and ranks --quantile--> nats

A bin is a range of floats with the same exponent and leading bits of the mantissa, 16 to an octave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

__all__ = ["NUM_BINS", "count_log_ratios", "quantile"]

OCTAVES = range(-24, 6)  # 6e-8 to 64 nats; the first bin is below, the last one above
BITS = 4  # of the mantissa: a bin is at most 1 / 16 wide, relative to its lower edge
NUM_BINS = len(OCTAVES) * 2**BITS + 2

_SHIFT = 23 - BITS  # float32 has 23 bits of mantissa
_FIRST = ((127 + OCTAVES.start) << BITS) - 1  # 127: bias of the exponent


def count_log_ratios(log_ratios: Tensor) -> Tensor:
    """Count the log ratios [K] by the bin of their absolute value, int64 [NUM_BINS].

    Infinities and nan count in the last bin.
    """
    bits = log_ratios.float().abs().view(torch.int32)
    bins = ((bits >> _SHIFT) - _FIRST).clamp(0, NUM_BINS - 1).long()
    counts = torch.zeros(NUM_BINS, dtype=torch.int64, device=bins.device)
    return counts.scatter_add_(0, bins, torch.ones_like(bins))


def quantile(counts: Sequence[float], share: float) -> float:
    """Return the smallest upper edge of a bin, in nats, below which this share of the tokens lies.

    It exceeds the quantile of the values by at most 1 / 16; it is inf above 64 nats. 0 without
    tokens.
    """
    needed = share * sum(counts)
    index = next(i for i, total in enumerate(accumulate(counts)) if total >= needed)
    return _upper_edge(index) if needed else 0.0


def _upper_edge(index: int) -> float:
    if index == NUM_BINS - 1:
        return math.inf
    return float(np.int32((index + _FIRST + 1) << _SHIFT).view(np.float32))
