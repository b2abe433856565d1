"""TRL's SFTTrainer with Muon, sampling by domain, and losses over all logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl import SFTTrainer

from rlvr.stages.sft.muon import MuonWithAdamW
from rlvr.stages.sft.sampler import DomainSampler
from rlvr.stages.sft.sft_losses import cross_entropy_sum, distillation_sum, learned_logits
from rlvr.stages.sft.sft_plan import SftPlan

__all__ = ["RecipeTrainer"]


class RecipeTrainer(SFTTrainer):
    """Trainer of a plan; a subclass, because transformers calls these methods."""

    def __init__(
        self, *, plan: SftPlan, domains: Sequence[str], teacher: Any, **arguments: Any
    ) -> None:
        self._plan = plan
        self._domains = domains
        self._teacher = teacher
        super().__init__(**arguments)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create Muon if the plan has it, once adapters and DeepSpeed are in place.

        DeepSpeed silently replaces an optimizer that is passed to the trainer, and with it the
        learning rate.
        """
        plan = self._plan
        if plan.matrix_lr is not None and getattr(self, "optimizer", None) is None:
            self.optimizer = MuonWithAdamW(
                self.model if model is None else model,
                matrix_lr=plan.matrix_lr,
                other_lr=plan.lr,
                weight_decay=plan.weight_decay,
            )
        return super().create_optimizer(model)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute TRL's loss, or label smoothing and distillation, which need all logits."""
        if not self._plan.label_smoothing and self._teacher is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"]
        rest = {key: value for key, value in inputs.items() if key != "labels"}
        logits, targets = learned_logits(model(**rest, use_cache=False).logits, labels)
        num_tokens = len(targets) if num_items_in_batch is None else num_items_in_batch
        loss = self._loss_sum(logits, targets, rest, labels) / num_tokens
        return loss if num_items_in_batch is None else loss * self.accelerator.num_processes

    def _loss_sum(
        self, logits: torch.Tensor, targets: torch.Tensor, inputs: dict[str, Any], labels: Any
    ) -> torch.Tensor:
        """alpha * KL(teacher || student) + (1 - alpha) * cross-entropy, over learned tokens."""
        loss = cross_entropy_sum(logits, targets, smoothing=self._plan.label_smoothing)
        section = self._plan.distill
        if section is None:
            return loss
        with torch.no_grad():
            teacher, _ = learned_logits(self._teacher(**inputs, use_cache=False).logits, labels)
        kl = distillation_sum(logits, teacher, temperature=section.temperature)
        count = max(1, len(targets))
        self._metrics["train"]["distill/kl"].append(kl.item() / count)
        self._metrics["train"]["distill/cross_entropy"].append(loss.item() / count)
        return section.alpha * kl + (1 - section.alpha) * loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        section = self._plan.data.domains
        if section is None:
            return super()._get_train_sampler(train_dataset)
        return DomainSampler(self._domains, temperature=section.temperature, seed=self._plan.seed)
