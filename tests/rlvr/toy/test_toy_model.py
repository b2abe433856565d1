"""The toy model and its optimizer."""

from __future__ import annotations

import torch

from rlvr.stages.sft.muon import MuonWithAdamW
from rlvr.toy.toy_model import make_model, make_tokenizer


def test_the_model_has_one_to_four_million_parameters_and_repeats_with_its_seed() -> None:
    tokenizer = make_tokenizer(seed=0)
    model, same, other = (make_model(tokenizer, seed=seed) for seed in (0, 0, 1))
    assert 1_000_000 <= model.num_parameters() <= 4_000_000
    assert torch.equal(model.lm_head.weight, same.lm_head.weight)
    assert not torch.equal(model.lm_head.weight, other.lm_head.weight)
    assert model.config.eos_token_id == tokenizer.eos_token_id


def test_making_a_model_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    make_model(make_tokenizer(seed=0), seed=3, hidden_size=64, num_layers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_optimizer_moves_every_parameter_and_still_does_after_its_state_was_reloaded() -> None:
    model = make_model(make_tokenizer(seed=0), hidden_size=64, num_layers=1)
    optimizer = MuonWithAdamW(model, matrix_lr=0.02, other_lr=1e-3)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.load_state_dict(optimizer.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.tensor([[5, 6, 7, 8]])).logits.square().sum().backward()
    optimizer.step()
    assert all(
        not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)
    )
