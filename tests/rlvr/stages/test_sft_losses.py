"""Label smoothing and distillation against their formulas; which rows a domain sampler draws."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from rlvr.stages.sft.trainer import (
    DomainSampler,
    cross_entropy_sum,
    distillation_sum,
    domain_shares,
    learned_logits,
)


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def test_only_learned_places_count_and_logits_are_of_the_next_token() -> None:
    logits = torch.arange(2 * 3 * 4, dtype=torch.float32).view(2, 3, 4)
    labels = torch.tensor([[-100, -100, 2], [-100, 1, -100]])
    kept, targets = learned_logits(logits, labels)
    assert kept.tolist() == [logits[0, 1].tolist(), logits[1, 0].tolist()]
    assert targets.tolist() == [2, 1]


def test_label_smoothing_is_its_formula() -> None:
    logits = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]
    targets, epsilon = [1, 0], 0.1
    by_hand = 0.0
    for row, target in zip(logits, targets, strict=True):
        p = softmax(row)
        by_hand += (1 - epsilon) * -math.log(p[target])
        by_hand += epsilon * sum(-math.log(x) for x in p) / len(p)
    made = cross_entropy_sum(torch.tensor(logits), torch.tensor(targets), smoothing=epsilon)
    assert made.item() == pytest.approx(by_hand, rel=1e-6)


def test_distillation_is_the_divergence_from_the_teacher() -> None:
    student, teacher, temperature = [1.0, 2.0, 0.5], [0.0, -1.0, 3.0], 2.0
    p = softmax([x / temperature for x in teacher])
    q = softmax([x / temperature for x in student])
    by_hand = temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    made = distillation_sum(
        torch.tensor([student]), torch.tensor([teacher]), temperature=temperature
    )
    assert made.item() == pytest.approx(by_hand, rel=1e-5)


def test_the_divergence_of_a_model_from_itself_is_nothing() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert distillation_sum(logits, logits).item() == 0.0


def test_a_temperature_of_one_leaves_domains_and_a_large_one_evens_them() -> None:
    domains = ["a"] * 90 + ["b"] * 10
    assert domain_shares(domains, temperature=1.0) == pytest.approx({"a": 0.9, "b": 0.1})
    assert domain_shares(domains, temperature=2.0) == pytest.approx({"a": 0.75, "b": 0.25})
    assert domain_shares(domains, temperature=1e9) == pytest.approx({"a": 0.5, "b": 0.5})


def test_drawn_shares_are_within_three_sigma() -> None:
    domains = ["a"] * 3600 + ["b"] * 400
    drawn = Counter(domains[i] for i in DomainSampler(domains, temperature=2.0, seed=0))
    sigma = math.sqrt(4000 * 0.75 * 0.25)  # 3 to 1: the roots of the sizes
    assert abs(drawn["a"] - 3000) < 3 * sigma


def test_an_epoch_is_drawn_the_same_after_a_resume_and_differs_from_the_next() -> None:
    domains = ["a"] * 30 + ["b"] * 10
    first, second = (DomainSampler(domains, temperature=2.0, seed=1) for _ in range(2))
    draws = [list(first), (first.set_epoch(1), list(first))[1]]
    second.set_epoch(1)
    assert list(second) == draws[1]
    assert draws[0] != draws[1]
