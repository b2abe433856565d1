"""Muon in batches against torch's, and its state across steps."""

from __future__ import annotations

import copy

import torch
from torch import nn

from rlvr.stages.sft import muon
from rlvr.stages.sft.muon import MuonWithAdamW, orthogonal

SHAPES = ((6, 4), (4, 6), (6, 4), (4, 4))


def matrices() -> nn.ModuleList:
    torch.manual_seed(0)
    linears = [nn.Linear(columns, rows, bias=False) for rows, columns in SHAPES]
    return nn.ModuleList([*linears, nn.LayerNorm(4)])


def test_matrices_of_one_shape_are_updated_as_each_alone_by_torch() -> None:
    ours = matrices()
    theirs = copy.deepcopy(ours)
    optimizer = MuonWithAdamW(ours, matrix_lr=0.1, other_lr=0.1, weight_decay=0.2)
    pairs = [(a.weight, b.weight) for a, b in zip(ours[:-1], theirs[:-1], strict=True)]
    reference = torch.optim.Muon([b for _, b in pairs], lr=0.1, weight_decay=0.2, momentum=0.95)
    for step in range(3):
        for a, b in pairs:
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(step))
            b.grad = a.grad.clone()
        optimizer.step()
        reference.step()
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=0, atol=0.01)  # bfloat16 rounds at 0.004
        state = optimizer.state[a]["momentum_buffer"]
        torch.testing.assert_close(state, reference.state[b]["momentum_buffer"])


def test_updates_are_about_orthogonal() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(5, 8, 24)).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_large_stack_is_split() -> None:
    size = 6 * 4
    stacks = list(muon._stacks([torch.zeros(6, 4)] * 3, max_stacked=2 * size))
    assert [len(stack) for stack in stacks] == [2, 1]
