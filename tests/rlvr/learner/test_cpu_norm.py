"""The norms of the CPU against those of transformers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from rlvr.learner.cpu_norm import CpuRmsNorm, use_cpu_norms


@pytest.mark.parametrize("shape", [(5, 16), (2, 3, 4, 16)])
def test_values_and_gradients_equal_those_of_transformers(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    plain = Qwen3RMSNorm(16, eps=1e-2)
    nn.init.normal_(plain.weight)
    ours = nn.Sequential(copy.deepcopy(plain))
    use_cpu_norms(ours)
    assert isinstance(ours[0], CpuRmsNorm)
    x = torch.randn(shape, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    factors = torch.randn(shape)
    (plain(x) * factors).sum().backward()
    (ours(y) * factors).sum().backward()
    torch.testing.assert_close(ours(y), plain(x))
    torch.testing.assert_close(y.grad, x.grad)
    torch.testing.assert_close(ours[0].weight.grad, plain.weight.grad)


def test_other_norms_and_bfloat16_compute_as_before() -> None:
    model = nn.ModuleDict({"gemma": GemmaRMSNorm(8), "qwen": Qwen3RMSNorm(8).bfloat16()})
    x = torch.randn(3, 8)
    before = model["gemma"](x), model["qwen"](x.bfloat16())
    use_cpu_norms(model)
    assert type(model["gemma"]) is GemmaRMSNorm
    assert torch.equal(model["gemma"](x), before[0])
    assert torch.equal(model["qwen"](x.bfloat16()), before[1])
    assert list(model.state_dict()) == ["gemma.weight", "qwen.weight"]
