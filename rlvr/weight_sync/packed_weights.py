"""Named tensors packed into one flat buffer with a table of contents and a digest.

The buffer passes through Ray's shared-memory object store: engines on the same machine read it in
place, and Ray copies it once to each other machine. Nothing is written to disk.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from rlvr.errors import CheckError, one_line
from rlvr.weight_sync.load_record import LoadRecord

__all__ = ["PackedWeights", "WeightSyncWorker", "digest_of", "pack_weights", "unpack_weights"]

ALIGNMENT = 16  # bytes; each tensor starts at a multiple of it
MAX_NAMED = 3  # tensors in a message


Entry = tuple[str, str, tuple[int, ...]]  # name, torch dtype and shape of a tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedWeights:
    """The tensors of a policy version as bytes."""

    policy_version: int
    entries: tuple[Entry, ...]  # in the buffer's order
    buffer: NDArray[np.uint8]  # [total bytes], each tensor aligned
    digest: str  # of entries and buffer, computed by the sender


def pack_weights(
    tensors: Iterable[tuple[str, torch.Tensor]], *, policy_version: int
) -> PackedWeights:
    """Copy named tensors, from any device, into one buffer in host memory.

    Pass tied tensors under each of their names: an engine that gets no `lm_head.weight` silently
    keeps its old head, even if the head shares its storage with the embedding.
    """
    named = [(name, tensor.detach().contiguous()) for name, tensor in tensors]
    entries = tuple((n, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in named)
    buffer = np.zeros(sum(_aligned(t.numel() * t.element_size()) for _, t in named), dtype=np.uint8)
    target, start = torch.from_numpy(buffer), 0
    for _, tensor in named:
        raw = tensor.reshape(-1).view(torch.uint8)
        target[start : start + raw.numel()].copy_(raw)
        start += _aligned(raw.numel())
    return PackedWeights(
        policy_version=policy_version,
        entries=entries,
        buffer=buffer,
        digest=digest_of(entries, buffer),
    )


def unpack_weights(packed: PackedWeights) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the named tensors as read-only views of the buffer."""
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
    """Round up: a float32 view of the buffer must start at a multiple of its size."""
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


def digest_of(entries: Iterable[Entry], buffer: NDArray[np.uint8]) -> str:
    """Return the XXH3-128 digest of table of contents and bytes; the receiver recomputes it."""
    state = xxhash.xxh3_128(repr(tuple(entries)).encode())
    state.update(buffer.data)
    return state.hexdigest()


class WeightSyncWorker:
    """Mixin for vLLM's worker (`worker_extension_cls`); `self` is that worker.

    vLLM's own `reload_weights` also works where kernels keep packed copies of the weights and
    `model.load_weights` fails (linear layers on a CPU).
    """

    device: Any
    get_model: Any
    reload_weights: Any
    comparable_tensors: frozenset[str] | None = None  # sent ones that are kept unchanged
    complete_load: tuple[tuple[Entry, ...], LoadRecord] | None = None  # the last recorded one

    def load_packed(self, packed: PackedWeights) -> str:
        """Load a policy version; return the digest of the received bytes.

        A load is recorded once for each table of contents: tensors of the same names and shapes go
        the same ways.

        Raises CheckError: a parameter was not loaded, a tensor was not used, or the engine holds
        other values than it was given.
        """
        # clones: a loader may keep a tensor, which would otherwise point into shared memory
        clones = ((name, tensor.clone()) for name, tensor in unpack_weights(packed))
        if self.complete_load is not None and self.complete_load[0] == packed.entries:
            record = self.complete_load[1]
            self.reload_weights(weights_iterator=clones)
        else:
            record = self._recorded_load(packed, clones)
        if faults := self._stale(record, packed):
            raise _error(packed, faults)
        return digest_of(packed.entries, packed.buffer)

    def _recorded_load(
        self, packed: PackedWeights, tensors: Iterator[tuple[str, torch.Tensor]]
    ) -> LoadRecord:
        record = LoadRecord(self.get_model(), shares_tied=self.device.type != "cpu")
        try:
            with record:
                self.reload_weights(weights_iterator=record.watch(tensors))
        except ValueError as error:  # a name that the model does not know
            raise _error(packed, [f"{record.last}: {one_line(error)}"]) from None
        if faults := _faults(record):
            raise _error(packed, faults)
        self.complete_load = (packed.entries, record)
        return record

    def _stale(self, record: LoadRecord, packed: PackedWeights) -> list[str]:
        """Compare tensors with those sent: all that were equal after the engine's first load.

        The first load tells them from tensors that vLLM converts or packs.
        """
        is_same = record.compare(dict(unpack_weights(packed)))
        if self.comparable_tensors is None:
            self.comparable_tensors = frozenset(name for name, same in is_same.items() if same)
        kept = self.comparable_tensors
        stale = [name for name, same in is_same.items() if not same and name in kept]
        return [f"the engine holds other values of {_some(stale)}"] if stale else []


def _error(packed: PackedWeights, faults: Sequence[str]) -> CheckError:
    return CheckError(f"weight sync of version {packed.policy_version}: {'; '.join(faults)}")


def _faults(record: LoadRecord) -> list[str]:
    """Describe parameters that were not loaded and tensors that were not used."""
    parts = {
        "the engine's model did not load": record.not_loaded(),
        "the engine's model did not use": record.not_used(),
    }
    return [f"{what} {_some(names)}" for what, names in parts.items() if names]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
