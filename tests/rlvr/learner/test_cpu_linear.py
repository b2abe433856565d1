"""The oneDNN linear layer against torch's own: values, gradients, and what stays as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from rlvr.learner.cpu_linear import (
    OneDnnLinear,
    fastest_library,
    linear,
    use_library,
    use_onednn,
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 48), (2, 7, 48), (1, 48)])
def test_values_and_gradients_equal_a_plain_linear_layer(
    bias: bool, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(48, 32, bias=bias)
    ours = nn.Sequential(copy.deepcopy(plain))
    use_onednn(ours)
    x, y = (torch.randn(shape) for _ in range(2))
    x.requires_grad_()
    y.data.copy_(x.data)
    y.requires_grad_()
    weights = torch.randn(*shape[:-1], 32)
    (plain(x) * weights).sum().backward()
    (ours(y) * weights).sum().backward()
    torch.testing.assert_close(ours(y), plain(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(y.grad, x.grad, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_names_of_parameters_stay_and_only_plain_linear_layers_change() -> None:
    class OwnLinear(nn.Linear):
        pass

    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": OwnLinear(4, 4), "c": nn.LayerNorm(4)})
    before = [name for name, _ in model.named_parameters()]
    use_onednn(model)
    assert [name for name, _ in model.named_parameters()] == before
    assert [type(m) for m in model.values()] == [OneDnnLinear, OwnLinear, nn.LayerNorm]


def test_bfloat16_uses_the_plain_layer() -> None:
    model = nn.Sequential(nn.Linear(8, 8).to(torch.bfloat16))
    x = torch.randn(3, 8, dtype=torch.bfloat16)
    expected = model(x)
    use_onednn(model)
    assert torch.equal(model(x), expected)


def test_a_frozen_layer_gets_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(8, 8).requires_grad_(False))
    use_onednn(model)
    x = torch.randn(3, 8, requires_grad=True)
    model(x).sum().backward()
    assert model[0].weight.grad is None
    assert model[0].bias.grad is None
    assert x.grad is not None


@pytest.fixture
def _onednn_again() -> Iterator[None]:
    yield
    use_library("onednn")


@pytest.mark.usefixtures("_onednn_again")
def test_with_mkl_the_layer_and_the_product_are_those_of_torch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4))
    x = torch.randn(3, 8)
    expected = model(x)
    use_onednn(model)
    use_library("mkl")
    assert torch.equal(model(x), expected)
    assert torch.equal(linear(x, model[0].weight, model[0].bias), expected)


def test_fastest_library_is_one_of_the_two() -> None:
    assert fastest_library() in ("onednn", "mkl")
