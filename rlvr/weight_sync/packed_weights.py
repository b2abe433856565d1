"""Weights on their way from learner to engines: one flat buffer, its table of contents and its
digest.

The buffer travels through Ray's shared-memory object store: on one machine every engine reads the
learner's pages in place; between machines Ray copies it once for each. Nothing is written to disk.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

__all__ = ["PackedWeights", "digest_of", "pack_weights", "unpack_weights"]

ALIGNMENT = 16  # bytes at which each tensor begins


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedWeights:
    """The tensors of a policy version, as bytes."""

    policy_version: int
    entries: tuple[
        tuple[str, str, tuple[int, ...]], ...
    ]  # name, torch dtype, shape, in the buffer's order
    buffer: NDArray[np.uint8]  # [total bytes], each tensor aligned
    digest: str  # of entries and buffer, made by the sender


def pack_weights(
    tensors: Iterable[tuple[str, torch.Tensor]], *, policy_version: int
) -> PackedWeights:
    """Copy named tensors, from any device, into one buffer in host memory.

    Tied tensors must come under each of their names: an engine that is not sent `lm_head.weight`
    keeps its old head without a word, even where the head shares its storage with the embedding.
    """
    named = [(name, tensor.detach().contiguous()) for name, tensor in tensors]
    entries = tuple(
        (name, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in named
    )
    buffer = np.zeros(sum(_aligned(t.numel() * t.element_size()) for _, t in named), dtype=np.uint8)
    target, start = torch.from_numpy(buffer), 0
    for _, tensor in named:
        raw = tensor.reshape(-1).view(torch.uint8)
        target[start : start + raw.numel()].copy_(raw)
        start += _aligned(raw.numel())
    digest = digest_of(entries, buffer)
    return PackedWeights(
        policy_version=policy_version, entries=entries, buffer=buffer, digest=digest
    )


def unpack_weights(packed: PackedWeights) -> Iterator[tuple[str, torch.Tensor]]:
    """The named tensors again, as read-only views of the buffer."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        whole = torch.from_numpy(packed.buffer)
    start = 0
    for name, dtype_name, shape in packed.entries:
        dtype: torch.dtype = getattr(torch, dtype_name)
        num_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        yield name, whole[start : start + num_bytes].view(dtype).view(shape)
        start += _aligned(num_bytes)


def _aligned(num_bytes: int) -> int:
    """Rounded up: a float32 behind three bfloat16 numbers could not be viewed where it lies."""
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


def digest_of(
    entries: Iterable[tuple[str, str, tuple[int, ...]]], buffer: NDArray[np.uint8]
) -> str:
    """XXH3-128 over table of contents and bytes; the receiver computes it again from what
    arrived.
    """
    state = xxhash.xxh3_128(repr(tuple(entries)).encode())
    state.update(buffer.data)
    return state.hexdigest()
