"""The seed of a completion depends only on the parts that name it."""

from __future__ import annotations

import hashlib

from rlvr.rollout.engine_requests import completion_seed


def test_the_seed_is_a_digest_of_the_parts() -> None:
    digest = hashlib.blake2b(b"0/train/128/3/1", digest_size=8).digest()
    assert completion_seed(0, "train", 128, 3, 1) == int.from_bytes(digest, "big") // 2


def test_each_part_changes_the_seed() -> None:
    parts = [(0, "train", 0, 1, 2), (1, "train", 0, 1, 2), (0, "eval", 1, 2), (0, "train", 0, 2, 1)]
    parts += [(0, "train", 1, 1, 2), (0, "train", 0, 12)]
    assert len({completion_seed(*part) for part in parts}) == len(parts)


def test_seeds_are_spread_over_63_bits() -> None:
    seeds = [completion_seed(0, "train", 0, i, k) for i in range(64) for k in range(16)]
    assert len(set(seeds)) == 1024
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert 0.4 < sum(seed >= 2**62 for seed in seeds) / 1024 < 0.6
