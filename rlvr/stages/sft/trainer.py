"""TRL's SFTTrainer with Muon, sampling by domain, flat rows, and losses over all logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from trl import SFTTrainer

from rlvr.stages.sft.flat_rows import FlatRows
from rlvr.stages.sft.muon import MuonWithAdamW
from rlvr.stages.sft.row_encoding import IGNORED
from rlvr.stages.sft.sft_plan import SftPlan

__all__ = [
    "DomainSampler",
    "RecipeTrainer",
    "cross_entropy_sum",
    "distillation_sum",
    "domain_shares",
    "learned_logits",
]


# numbers in the logits of a batch (64 MB); for fewer, TRL's head in tiles takes four times as long
MAX_LOGITS = 2**24


class RecipeTrainer(SFTTrainer):
    """Trainer of a plan; a subclass, because transformers calls these methods."""

    def __init__(
        self,
        *,
        plan: SftPlan,
        domains: Sequence[str],
        teacher: Any,
        has_flat_rows: bool,
        **arguments: Any,
    ) -> None:
        self._plan = plan
        self._domains = domains
        self._teacher = teacher
        super().__init__(**arguments)
        if has_flat_rows:
            self.data_collator = FlatRows(self.processing_class.pad_token_id)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create Muon if the plan has it, once adapters and DeepSpeed are in place.

        DeepSpeed silently replaces an optimizer that is passed to the trainer, and with it the
        learning rate.
        """
        config = self._plan.config
        if config.matrix_lr is not None and getattr(self, "optimizer", None) is None:
            self.optimizer = MuonWithAdamW(
                self.model if model is None else model,
                matrix_lr=config.matrix_lr,
                other_lr=config.lr,
                weight_decay=config.weight_decay,
            )
        return super().create_optimizer(model)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute TRL's loss, or one from all logits: if they are few, or if it needs them."""
        config, labels = self._plan.config, inputs["labels"]
        num_logits = labels.numel() * self.model.config.get_text_config().vocab_size
        needs_logits = config.label_smoothing > 0 or self._teacher is not None
        if not needs_logits and (num_logits > MAX_LOGITS or not self._plan.is_cpu):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        rest = {key: value for key, value in inputs.items() if key != "labels"}
        logits, targets = learned_logits(model(**rest, use_cache=False).logits, labels)
        self._count(logits.detach(), targets)
        self._total_train_tokens += labels.numel() * self.accelerator.num_processes
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        num_tokens = len(targets) if num_items_in_batch is None else num_items_in_batch
        loss = self._loss_sum(logits, targets, rest, labels) / num_tokens
        return loss if num_items_in_batch is None else loss * self.accelerator.num_processes

    def _loss_sum(
        self, logits: Tensor, targets: Tensor, inputs: dict[str, Any], labels: Any
    ) -> Tensor:
        """alpha * KL(teacher || student) + (1 - alpha) * cross-entropy, over learned tokens."""
        loss = cross_entropy_sum(logits, targets, smoothing=self._plan.config.label_smoothing)
        section = self._plan.config.distill
        if section is None:
            return loss
        with torch.no_grad():
            teacher, _ = learned_logits(self._teacher(**inputs, use_cache=False).logits, labels)
        kl = distillation_sum(logits, teacher, temperature=section.temperature)
        count = max(1, len(targets))
        self._metrics["train"]["distill/kl"].append(kl.item() / count)
        self._metrics["train"]["distill/cross_entropy"].append(loss.item() / count)
        return section.alpha * kl + (1 - section.alpha) * loss

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _count(self, logits: Tensor, targets: Tensor) -> None:
        """Add TRL's metrics over the tokens of this rank."""
        metrics = self._metrics["train"]
        if len(targets):
            probs, largest = logits.softmax(1), logits.amax(1)
            log_sum = largest - probs.amax(1).log()
            entropy = log_sum - torch.linalg.vecdot(probs, logits)
            metrics["entropy"].append(entropy.mean().item())
            is_top = logits.gather(1, targets[:, None]).squeeze(1) == largest
            metrics["mean_token_accuracy"].append(is_top.float().mean().item())

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        section = self._plan.config.domains
        if section is None:
            return super()._get_train_sampler(train_dataset)
        return DomainSampler(
            self._domains, temperature=section.temperature, seed=self._plan.config.seed
        )


def domain_shares(domains: Sequence[str], *, temperature: float) -> dict[str, float]:
    """Return the probability of each domain: of n rows, n^(1/T) / sum of n^(1/T).

    T = 1 keeps the sizes, a large T makes all domains equal (Arivazhagan et al. 2019, section 4.1).
    """
    powers = {name: count ** (1 / temperature) for name, count in Counter(domains).items()}
    total = sum(powers.values())
    return {name: power / total for name, power in powers.items()}


class DomainSampler(torch.utils.data.Sampler[int]):
    """As many draws with replacement per epoch as rows, determined by seed and epoch."""

    def __init__(self, domains: Sequence[str], *, temperature: float, seed: int) -> None:
        sizes, shares = Counter(domains), domain_shares(domains, temperature=temperature)
        self._weights = torch.tensor(
            [shares[name] / sizes[name] for name in domains], dtype=torch.float64
        )
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; accelerate calls this, also after a resume."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        draws = torch.multinomial(
            self._weights, len(self._weights), replacement=True, generator=generator
        )
        return iter(draws.tolist())

    def __len__(self) -> int:
        return len(self._weights)


def learned_logits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits [N, V] and targets [N] of the N learned tokens.

    B rows, T tokens, V vocabulary. Logits [B, T, V] at position t predict the token at t + 1.
    """
    targets = labels[:, 1:]
    mask = targets != IGNORED
    return logits[:, :-1][mask].float(), targets[mask]


def cross_entropy_sum(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """[N, V], [N] -> scalar: sum of (1 - e) * -log p(target) + e * mean over V of -log p.

    Szegedy et al. 2016, section 7, with the uniform distribution over all V.
    """
    return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")


def distillation_sum(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """[N, V], [N, V] -> scalar: sum over tokens of KL(teacher || student), times temperature^2.

    Hinton et al. 2015: the square keeps the gradient's size when both are softened.
    """
    log_p = F.log_softmax(teacher / temperature, dim=-1)
    log_q = F.log_softmax(student / temperature, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum() * temperature**2
