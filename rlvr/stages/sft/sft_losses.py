"""Supervised losses that need the whole distribution; all are sums over tokens.

B rows, T tokens, V vocabulary. Logits [B, T, V] at position t predict the token at t + 1.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from rlvr.stages.sft.row_encoding import IGNORED

__all__ = ["cross_entropy_sum", "distillation_sum", "learned_logits"]


def learned_logits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits [N, V] and targets [N] of the N learned tokens."""
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
