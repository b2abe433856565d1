"""Row sampling by domain, where small domains appear more often than by their size.

A domain of n rows is drawn with probability n^(1/T) / sum of n^(1/T); T = 1 keeps the sizes, a
large T makes all domains equal (Arivazhagan et al. 2019, section 4.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch

__all__ = ["DomainSampler", "domain_shares"]


def domain_shares(domains: Sequence[str], *, temperature: float) -> dict[str, float]:
    """Return the probability of each domain."""
    powers = {name: count ** (1 / temperature) for name, count in Counter(domains).items()}
    total = sum(powers.values())
    return {name: power / total for name, power in powers.items()}


class DomainSampler(torch.utils.data.Sampler[int]):
    """As many draws with replacement per epoch as rows, determined by seed and epoch."""

    def __init__(self, domains: Sequence[str], *, temperature: float, seed: int) -> None:
        sizes, shares = Counter(domains), domain_shares(domains, temperature=temperature)
        self._weights = torch.tensor(
            [shares[name] / sizes[name] for name in domains], dtype=torch.float64
        )
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; accelerate calls this, also after a resume."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        draws = torch.multinomial(
            self._weights, len(self._weights), replacement=True, generator=generator
        )
        return iter(draws.tolist())

    def __len__(self) -> int:
        return len(self._weights)
