"""The part of a weight sync that runs inside each vLLM worker.

vLLM mixes this class into its worker (`worker_extension_cls`). It loads weights with vLLM's own
`reload_weights`, which also works where kernels keep packed copies of the weights and
`model.load_weights` fails (linear layers on a CPU).
"""

from __future__ import annotations

from typing import Any

from rlvr.weight_sync.packed_weights import PackedWeights, digest_of, unpack_weights

__all__ = ["WeightSyncWorker"]


class WeightSyncWorker:
    """Mixin for vLLM's worker; `self` is that worker."""

    reload_weights: Any

    def load_packed(self, packed: PackedWeights) -> str:
        """Load a policy version; return the digest of the received bytes."""
        # clones: a loader may keep a tensor, which would otherwise point into shared memory
        clones = ((name, tensor.clone()) for name, tensor in unpack_weights(packed))
        self.reload_weights(weights_iterator=clones)
        return digest_of(packed.entries, packed.buffer)
