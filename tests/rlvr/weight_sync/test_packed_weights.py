"""Weights in one buffer and back, and a digest that sees every change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rlvr.weight_sync.packed_weights import digest_of, pack_weights, unpack_weights

NAMED = [
    ("embed.weight", torch.arange(6, dtype=torch.float32).reshape(2, 3)),
    ("norm.weight", torch.tensor([1.5, -2.0, 3.25], dtype=torch.bfloat16)),
    ("scale", torch.tensor(0.5)),
    ("head.weight", torch.tensor([[1.0, float("nan")]], dtype=torch.float64)),
    ("empty", torch.empty(0, 4)),
    ("mask", torch.tensor([True, False, True])),
    ("last", torch.tensor([7.0])),
]


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(
        left.reshape(-1).view(torch.uint8), right.contiguous().reshape(-1).view(torch.uint8)
    )


def test_tensors_of_all_types_round_trip_bitwise() -> None:
    found = list(unpack_weights(pack_weights(NAMED, policy_version=3)))
    assert [name for name, _ in found] == [name for name, _ in NAMED]
    assert [tensor.shape for _, tensor in found] == [tensor.shape for _, tensor in NAMED]
    assert all(same(a, b) for (_, a), (_, b) in zip(found, NAMED, strict=True))


def test_a_strided_view_is_packed_in_logical_order() -> None:
    transposed = torch.arange(6.0).reshape(2, 3).T
    [(_, found)] = unpack_weights(pack_weights([("w", transposed)], policy_version=0))
    assert found.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_tied_tensors_are_packed_under_each_name() -> None:
    tied = torch.nn.Parameter(torch.ones(2, 2))
    packed = pack_weights([("embed.weight", tied), ("head.weight", tied)], policy_version=0)
    found = dict(unpack_weights(packed))
    assert sorted(found) == ["embed.weight", "head.weight"]
    assert same(found["embed.weight"], found["head.weight"])
    assert not found["head.weight"].requires_grad


def test_the_buffer_is_a_copy() -> None:
    weights = torch.ones(2)
    packed = pack_weights([("w", weights)], policy_version=0)
    weights.add_(1)
    [(_, found)] = unpack_weights(packed)
    assert found.tolist() == [1.0, 1.0]


def test_a_read_only_buffer_from_the_object_store_is_read_in_place() -> None:
    packed = pack_weights(NAMED, policy_version=0)
    packed.buffer.flags.writeable = False
    assert [name for name, _ in unpack_weights(packed)] == [name for name, _ in NAMED]


def test_the_digest_is_reproducible() -> None:
    packed = pack_weights(NAMED, policy_version=3)
    assert packed.digest == digest_of(packed.entries, packed.buffer)
    assert packed.digest == pack_weights(NAMED, policy_version=4).digest
    assert len(packed.digest) == 32


@pytest.mark.parametrize("place", [0, 5, 40, -16])
def test_the_digest_changes_with_a_single_bit(place: int) -> None:
    packed = pack_weights(NAMED, policy_version=0)
    changed = packed.buffer.copy()
    changed[place] ^= 1
    assert digest_of(packed.entries, changed) != packed.digest


def test_the_digest_changes_with_a_name_a_type_a_shape_and_the_order() -> None:
    one, two = ("a", torch.zeros(2, 3)), ("b", torch.zeros(2, 3))
    lists = [
        [one, two],
        [two, one],
        [one, ("c", two[1])],
        [one, ("b", two[1].reshape(3, 2))],
        [one, ("b", two[1].view(torch.int32))],
        [one],
    ]
    digests = [pack_weights(tensors, policy_version=0).digest for tensors in lists]
    assert len(set(digests)) == len(lists)


def test_swapped_tensors_of_one_shape_change_the_digest() -> None:
    left, right = torch.zeros(4), torch.ones(4)
    packed = pack_weights([("a", left), ("b", right)], policy_version=0)
    swapped = pack_weights([("a", right), ("b", left)], policy_version=0)
    arrived = dataclasses.replace(packed, buffer=swapped.buffer)
    assert digest_of(arrived.entries, arrived.buffer) != packed.digest
    assert np.array_equal(packed.buffer, swapped.buffer) is False
