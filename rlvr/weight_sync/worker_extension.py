"""The part of a weight sync that runs inside each vLLM worker.

vLLM mixes this class into its worker (`worker_extension_cls`). Weights go through vLLM's own
`reload_weights`, which also serves where kernels keep packed copies of the weights and the plain
`model.load_weights` fails (linear layers on a CPU).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from rlvr.weight_sync.packed_weights import PackedWeights, digest_of, unpack_weights

__all__ = ["WeightSyncWorker"]


class WeightSyncWorker:
    """Mixed into vLLM's worker; `self` is that worker."""

    reload_weights: Any

    def load_packed(self, packed: PackedWeights) -> str:
        """Load a policy version; returns the digest of the bytes as they arrived here."""
        self.reload_weights(weights_iterator=_alive(unpack_weights(packed)))
        return digest_of(packed.entries, packed.buffer)


def _alive(tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Clones, because a loader may keep a tensor that would otherwise point into shared memory."""
    for name, tensor in tensors:
        yield name, tensor.clone()
