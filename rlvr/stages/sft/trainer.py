"""TRL's SFTTrainer with what the recipes need beside it: Muon, domains, losses over all logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl import SFTTrainer

from rlvr.stages.sft.sampler import DomainSampler
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_losses import cross_entropy_sum, distillation_sum, learned_logits

__all__ = ["RecipeTrainer"]


class RecipeTrainer(SFTTrainer):
    """A subclass, because transformers looks for these methods on its trainer."""

    def __init__(
        self, *, config: SftConfig, domains: Sequence[str], teacher: Any = None, **arguments: Any
    ) -> None:
        self._config = config
        self._domains = domains
        self._teacher = teacher
        super().__init__(**arguments)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Muon where the recipe has it; made late, when adapters and DeepSpeed are in place.

        An optimizer that is handed to the trainer is silently replaced under DeepSpeed, and with
        it the learning rate.
        """
        has_one: bool = getattr(self, "optimizer", None) is not None
        if self._config.matrix_lr is not None and not has_one:
            from rlvr.stages.sft.muon import MuonWithAdamW

            self.optimizer = MuonWithAdamW(
                self.model if model is None else model,
                matrix_lr=self._config.matrix_lr,
                other_lr=self._config.lr,
                weight_decay=self._config.weight_decay,
            )
        return super().create_optimizer(model)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """TRL's own where it does; label smoothing and distillation need all logits."""
        if not self._config.label_smoothing and self._teacher is None:
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
        loss = cross_entropy_sum(logits, targets, smoothing=self._config.label_smoothing)
        if self._teacher is None:
            return loss
        section = self._config.distill
        assert section is not None
        with torch.no_grad():
            teacher, _ = learned_logits(self._teacher(**inputs, use_cache=False).logits, labels)
        kl = distillation_sum(logits, teacher, temperature=section.temperature)
        count = max(1, len(targets))
        self._metrics["train"]["distill/kl"].append(kl.item() / count)
        self._metrics["train"]["distill/cross_entropy"].append(loss.item() / count)
        return section.alpha * kl + (1 - section.alpha) * loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        section = self._config.domains
        if section is None:
            return super()._get_train_sampler(train_dataset)
        return DomainSampler(self._domains, temperature=section.temperature, seed=self._config.seed)
