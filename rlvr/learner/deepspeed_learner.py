"""One rank of the learner in a Ray actor: micro-batches in, an optimizer step, new weights out.

    step(micro-batches of this rank) -> forward, loss, backward ... backward, AdamW -> StepReport
    weights() -> rank 0 packs, the others take part in gathering

The loss of a micro-batch is already its share of the global loss (batching folds the denominators
into row weights), so gradients are summed over micro-batches and over ranks; for the latter, the
loss is scaled to undo DeepSpeed's mean.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from rlvr.cluster.processes import free_port, redirect_output
from rlvr.errors import CheckError, RLVRError
from rlvr.learner.cpu_linear import MatmulLibrary, fastest_library, use_library
from rlvr.learner.deepspeed_engine import LearnerSpec, build_engine, load_model
from rlvr.learner.logprobs import completion_logprobs
from rlvr.learner.losses import LossTerms, policy_loss
from rlvr.learner.lr_schedule import lr_at
from rlvr.learner.mismatch import NUM_BINS, count_log_ratios, quantile
from rlvr.learner.packing import PackedRows, pack_rows, pack_text
from rlvr.run.trace import span
from rlvr.types import MicroBatch, StepReport

__all__ = ["DeepSpeedLearner"]

NUM_SUMS = 9  # totals of a step, besides the counts of log ratios


class DeepSpeedLearner:
    """The actor class; each method must be called on all ranks together."""

    def __init__(self, spec: LearnerSpec) -> None:
        redirect_output(spec.log_path)
        self._spec = spec

    def rendezvous(self) -> tuple[str, int]:
        """Return address and free port of this node, where the ranks meet (called on rank 0)."""
        import ray

        return ray.util.get_node_ip_address(), free_port(host="")

    def start(self, address: str, port: int) -> int:
        """Join the other ranks and load the model; return the process id."""
        spec = self._spec
        os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
        self._engine, self._optimizer = build_engine(spec)
        self._use_fastest_library()
        self._device = self._engine.device
        self._reference = load_model(spec).to(self._device).eval() if spec.loss.beta > 0 else None
        return os.getpid()

    def step(self, micro_batches: Sequence[MicroBatch], step: int) -> StepReport:
        """Take one optimizer step; if loss or gradient is not finite, raise CheckError instead."""
        started = time.monotonic()
        self._engine.train()
        self._set_lr(step)
        sums = torch.zeros(NUM_SUMS + NUM_BINS, dtype=torch.float64, device=self._device)
        max_ratio_error = torch.zeros((), dtype=torch.float32, device=self._device)
        for i, micro_batch in enumerate(micro_batches):
            is_last = i + 1 == len(micro_batches)
            self._engine.set_gradient_accumulation_boundary(is_last)
            with span("forward", num_tokens=micro_batch.num_computed_tokens):
                terms, statistics = self._forward(micro_batch)
            sums += statistics
            max_ratio_error = torch.maximum(max_ratio_error, terms.max_ratio_error)
            with span("backward"):
                self._engine.backward(terms.loss * self._spec.num_ranks, scale_wrt_gas=False)
        dist.all_reduce(sums)
        dist.all_reduce(max_ratio_error, op=dist.ReduceOp.MAX)
        with span("optimizer"):
            grad_norm = self._update()
        totals, counts = sums[:NUM_SUMS].tolist(), sums[NUM_SUMS:].tolist()
        loss, entropy, clipped, kl, mismatch, beyond, loss_tokens, tokens, computed_tokens = totals
        if self._optimizer.skipped or not np.isfinite([loss, grad_norm]).all():
            raise CheckError(
                f"step {step}: loss {loss:.4g}, gradient norm {grad_norm:.4g}: not finite; "
                "no optimizer step was made"
            )
        per_token = 1.0 / max(loss_tokens, 1.0)
        return StepReport(
            loss=loss,
            grad_norm=grad_norm,
            entropy=entropy * per_token,
            clip_frac=clipped * per_token,
            kl=kl * per_token,
            mismatch_kl=mismatch * per_token,
            mismatch_median=quantile(counts, 0.5),
            mismatch_p99=quantile(counts, 0.99),
            mismatch_beyond_frac=beyond * per_token,
            max_ratio_error=float(max_ratio_error),
            num_loss_tokens=int(loss_tokens),
            num_tokens=int(tokens),
            num_computed_tokens=int(computed_tokens),
            learn_s=time.monotonic() - started,
        )

    def weights(self, policy_version: int) -> list[object]:
        """Return a reference to the weights as `PackedWeights` from rank 0, nothing from others.

        The reference is in a list, which Ray returns as it is, so that the weights do not pass
        through the controller.
        """
        import ray

        from rlvr.weight_sync.packed_weights import pack_weights

        with span("pack"), self._gathered():
            if self._spec.rank != 0:
                return []
            tensors = self._engine.module.model.state_dict()  # has tied weights under each name
            return [ray.put(pack_weights(tensors.items(), policy_version=policy_version))]

    def probe(self, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return log-probs [T-1] of a fixed text under the current weights, at temperature 1."""
        with span("probe"), torch.no_grad():
            logprobs, _ = self._engine(*self._packed(pack_text(token_ids)), 1.0)
        return logprobs.float().cpu().numpy()

    def replace_reference(self) -> None:
        """Replace the reference by the policy (R1: every 400 steps)."""
        assert self._reference is not None
        with self._gathered():
            self._reference.load_state_dict(self._engine.module.model.state_dict())

    def save_checkpoint(self, folder: str) -> None:
        """Write DeepSpeed's shards (weights and optimizer), the reference, and model/; not atomic.

        model/ is a Hugging Face model directory: any command can read a checkpoint.
        """
        library = {"matmul_library": self._library}
        self._engine.save_checkpoint(folder, tag="learner", client_state=library)
        if self._reference is not None and self._spec.rank == 0:
            torch.save(self._reference.state_dict(), Path(folder) / "reference.pt")
        self._save_model(str(Path(folder) / "model"))

    def load_checkpoint(self, folder: str) -> None:
        """Load a checkpoint of `save_checkpoint`, and use its library for products."""
        path, client_state = self._engine.load_checkpoint(folder, tag="learner")
        if path is None:
            raise RLVRError(f"{folder}: DeepSpeed finds no checkpoint of the learner there")
        self._library = client_state.get("matmul_library", "onednn")  # before it was stored
        use_library(self._library)
        if self._reference is not None:
            file = Path(folder) / "reference.pt"
            state = torch.load(file, map_location=self._device, weights_only=True)
            self._reference.load_state_dict(state)

    def _use_fastest_library(self) -> None:
        """Use the library that is fastest on rank 0 for the linear layers of all ranks."""
        choice: list[MatmulLibrary] = [fastest_library()]
        if self._spec.num_ranks > 1:
            dist.broadcast_object_list(choice, device=self._engine.device)
        (self._library,) = choice
        use_library(self._library)

    def _save_model(self, folder: str) -> None:
        """Write the policy with its tokenizer (rank 0)."""
        from transformers import AutoTokenizer

        spec = self._spec
        with self._gathered():
            if spec.rank == 0:
                self._engine.module.model.save_pretrained(folder)
                AutoTokenizer.from_pretrained(
                    spec.model_path, trust_remote_code=spec.trust_remote_code
                ).save_pretrained(folder)

    def _forward(self, micro_batch: MicroBatch) -> tuple[LossTerms, torch.Tensor]:
        """Return the loss terms, and the sums [NUM_SUMS + NUM_BINS] behind a StepReport."""
        spec = self._spec
        token_ids, packed = self._packed(micro_batch)
        policy_logprobs, entropy = self._engine(token_ids, packed, spec.temperature)
        ref_logprobs = None
        if self._reference is not None:
            with span("reference"), torch.no_grad():
                ref_logprobs, _ = completion_logprobs(
                    self._reference, token_ids, packed, temperature=spec.temperature
                )
        lengths, has_loss = micro_batch.completion_lengths, micro_batch.loss_mask
        rollout_logprobs, advantages, weights = (
            torch.from_numpy(values[has_loss]).to(self._device)
            for values in (
                micro_batch.rollout_logprobs,
                micro_batch.advantages.repeat(lengths),
                micro_batch.row_weights.repeat(lengths),
            )
        )
        terms = policy_loss(
            policy_logprobs,
            rollout_logprobs,
            ref_logprobs,
            advantages=advantages,
            weights=weights,
            clip_low=spec.loss.clip_low,
            clip_high=spec.loss.clip_high,
            beta=spec.loss.beta,
        )
        log_ratios = policy_logprobs.detach() - rollout_logprobs
        return terms, self._sums(micro_batch, terms, entropy.detach(), log_ratios)

    def _sums(
        self,
        micro_batch: MicroBatch,
        terms: LossTerms,
        entropy: torch.Tensor,
        log_ratios: torch.Tensor,
    ) -> torch.Tensor:
        beyond = (log_ratios.abs() > self._spec.mismatch_limit).sum()
        totals = [terms.loss.detach(), entropy.sum(), terms.clipped, terms.kl_sum]
        totals += [terms.mismatch_sum, beyond]
        sizes = [micro_batch.loss_mask.sum(), micro_batch.num_tokens]
        sizes += [micro_batch.num_computed_tokens]
        sums = torch.stack([total.double() for total in totals])
        parts = [sums, torch.tensor(sizes).to(sums), count_log_ratios(log_ratios).to(sums)]
        return torch.cat(parts)

    def _packed(self, micro_batch: MicroBatch) -> tuple[torch.Tensor, PackedRows]:
        token_ids = torch.from_numpy(micro_batch.token_ids).long().to(self._device)
        return token_ids, pack_rows(micro_batch, self._device)

    def _set_lr(self, step: int) -> None:
        learner = self._spec.learner
        lr = lr_at(step, learner, num_steps=self._spec.num_steps)
        for group in self._optimizer.param_groups:  # a checkpoint restores those it was made with
            group.update(lr=lr, weight_decay=learner.weight_decay)

    def _update(self) -> float:
        """Clip the gradients and step; return the gradient norm before clipping."""
        norm = None
        if self._spec.learner.zero_stage == 0 and self._spec.dtype == "float32":
            grads = [p.grad for p in self._engine.module.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(grads)
        self._engine.step()
        return float(self._engine.get_global_grad_norm() if norm is None else norm)

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        """Gather whole parameters in the block: under ZeRO-3 each rank holds a share of them."""
        import deepspeed

        params = list(self._engine.module.parameters())
        with deepspeed.zero.GatheredParameters(params, enabled=self._spec.learner.zero_stage == 3):
            yield
