"""Who gets which of two models: drawn by id and seed, so that it is the same at every request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

__all__ = ["TrafficSplit"]


class TrafficSplit:
    """`TrafficSplit({"a": 0.5, "b": 0.5}, seed=0).arm("user-17")`; shares add up to 1."""

    def __init__(self, shares: Mapping[str, float], *, seed: int) -> None:
        assert abs(sum(shares.values()) - 1) < 1e-9, "shares add up to 1"
        self._shares = dict(shares)
        self._seed = seed

    def arm(self, user: str) -> str:
        """The arm of a user, session or request."""
        drawn = hashlib.sha256(f"{self._seed}:{user}".encode()).digest()[:8]
        left = int.from_bytes(drawn) / 2**64
        for arm, share in self._shares.items():
            if left < share:
                return arm
            left -= share
        return list(self._shares)[-1]  # the shares' last bit
