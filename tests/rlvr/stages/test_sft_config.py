"""Combinations of keys that recipes of `rlvr sft` may have, and the presets' numbers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from rlvr.config import load_config
from rlvr.stages.sft.sft_config import SftConfig, load_presets
from rlvr.stages.sft.sft_plan import make_plan
from rlvr.stages.sft.training import deepspeed_config, training_arguments

ROOT = Path(__file__).parents[3]
BASE: dict[str, Any] = {"name": "a", "model": "m", "data": "rows.jsonl"}


def recipe(**values: Any) -> SftConfig:
    return SftConfig.model_validate({**BASE, **values})


def refusal(**values: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        recipe(**values)
    return str(refused.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"checkpoint": {"keep": {"best": 1}}}, "checkpoint.keep.best: `rlvr sft` has no held-out"),
        ({"num_epochs": 1, "max_steps": 60}, "num_epochs: 1 and max_steps: 60 cannot both be set"),
        (
            {"warmup_steps": 5, "warmup_frac": 0.1},
            "warmup_steps: 5 and warmup_frac: 0.1 cannot both be set",
        ),
        (
            {"deepspeed": {"zero_stage": 2, "offload_param": True}},
            "offload_param: true is valid with zero_stage 3 only (it is 2)",
        ),
        (
            {"deepspeed": {"zero_stage": 0, "offload_optimizer": True}},
            "offload_optimizer: true needs zero_stage 1, 2 or 3 (it is 0)",
        ),
        ({"deepspeed": {"offload_optimizer": True}}, "(it is null)"),
        ({"num_ranks": 2}, "num_ranks: 2 needs DeepSpeed"),
        ({"cpu_ranks": 3}, "batch_size: 32 rows cannot be shared by cpu_ranks: 3"),
        ({"cpu_ranks": 2, "deepspeed": {"zero_stage": 0}}, "cpu_ranks: 2 is for training without"),
        ({"samples": 2, "deepspeed": {"zero_stage": 3}}, "samples: a model whose weights are"),
        ({"load_in_4bit": True}, "add lora: {}"),
        (
            {"load_in_4bit": True, "lora": {}, "deepspeed": {"zero_stage": 0}},
            "does not work with DeepSpeed",
        ),
        ({"optimizer": "muon"}, "matrix_lr: optimizer muon needs it"),
        (
            {"matrix_lr": 0.02, "deepspeed": {"zero_stage": 1}},
            "flattens the matrices that Muon needs whole",
        ),
        ({"data": "toy_text"}, "num_rows: toy_text is endless"),
        ({"data": []}, "data: an empty list"),
        ({"data": [{"path": "a", "weight": 1}, {"path": "b"}]}, "every source has a weight"),
        ({"data": [{"path": "a"}], "split": "[:3]"}, "write them into the sources"),
        ({"packing": True, "domains": {"column": "d"}}, "packing and domains exclude"),
        ({"domains": {}}, "domains.column: name the column"),
        ({"head": "scalar", "packing": True}, "packing: is not for head scalar"),
        ({"preset": "none"}, "preset: 'none' is not known; allowed: medical_qlora, open_r1"),
        ({"model": "toy", "lora": {}}, "adapters need a trained model"),
    ],
)
def test_keys_that_do_not_fit_are_refused_in_one_line(values: dict[str, Any], line: str) -> None:
    refused = refusal(**values)
    assert line in refused
    assert "\n" not in refused


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_optimizer_states_are_offloaded_with_any_stage_that_shares_them(stage: int) -> None:
    config = recipe(deepspeed={"zero_stage": stage, "offload_optimizer": True})
    zero = (deepspeed_config(config.deepspeed, dtype="float32") or {})["zero_optimization"]
    assert zero["stage"] == stage
    assert zero["offload_optimizer"] == {"device": "cpu"}
    assert "offload_param" not in zero


def test_weights_are_offloaded_with_stage_three() -> None:
    config = recipe(deepspeed={"zero_stage": 3, "offload_param": True})
    made = deepspeed_config(config.deepspeed, dtype="bfloat16") or {}
    assert made["zero_optimization"]["offload_param"] == {"device": "cpu"}
    assert made["bf16"] == {"enabled": True}
    assert made["data_types"] == {"grad_accum_dtype": "fp32"}


def test_the_medical_recipe_has_the_numbers_of_its_preset() -> None:
    path = ROOT / "recipes/sft/medical_qlora.yaml"
    recipe = load_config(SftConfig, path).model_dump()
    preset = SftConfig.model_validate({**BASE, "preset": "medical_qlora"}).model_dump()
    for key in load_presets()["medical_qlora"]:
        assert recipe[key] == preset[key], key
    numbers = {
        "batch_size": 2,
        "gradient_accumulation": 4,
        "warmup_steps": 5,
        "max_steps": 60,
        "lr": 2e-4,
        "optimizer": "adamw_8bit",
        "weight_decay": 0.01,
        "lr_schedule": "linear",
        "seed": 3407,
        "max_tokens": 2048,
        "log_steps": 10,
        "load_in_4bit": True,
        "split": "train[:500]",
    }
    assert {key: recipe[key] for key in numbers} == numbers
    assert recipe["lora"] == {
        "r": 16,
        "alpha": 16,
        "dropout": 0.0,
        "bias": "none",
        "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "layers_to_transform": None,
        "rslora": False,
    }


def test_a_recipe_overrides_its_preset() -> None:
    config = recipe(preset="medical_qlora", num_epochs=1, warmup_frac=0.1, lora={"r": 8})
    assert (config.num_epochs, config.max_steps, config.warmup_steps) == (1, None, None)
    assert config.lora is not None
    assert (config.lora.r, config.lora.alpha) == (8, 16)


def test_the_open_r1_preset_ends_at_a_tenth_of_the_learning_rate() -> None:
    config = recipe(preset="open_r1_distill")
    assert (config.lr, config.num_epochs, config.max_grad_norm) == (4e-5, 5, 0.2)
    schedule = training_arguments(make_plan(config, is_cpu=True), output_dir=Path("x"))
    assert schedule["lr_scheduler_kwargs"] == {"min_lr_rate": 0.1}
    assert schedule["warmup_steps"] == 0.03


def test_the_eight_bit_optimizer_becomes_adamw_on_a_cpu_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan = make_plan(recipe(optimizer="adamw_8bit"), is_cpu=True)
    arguments = training_arguments(plan, output_dir=Path("x"))
    assert arguments["optim"] == "adamw_torch"
    assert "adamw_8bit needs a GPU; using plain adamw" in caplog.text


def test_a_resolved_config_loads_again_as_it_was(tmp_path: Path) -> None:
    config = recipe(preset="medical_qlora", num_epochs=2)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert load_config(SftConfig, file) == config


def test_a_plan_is_the_same_in_every_rank(tmp_path: Path) -> None:
    config = recipe(preset="open_r1_distill", data=[{"path": "a.jsonl"}, {"path": "b.jsonl"}])
    plan = make_plan(config, is_cpu=False)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert make_plan(load_config(SftConfig, file), is_cpu=False) == plan
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert plan.inputs == {"model": "m", "data.0": "a.jsonl", "data.1": "b.jsonl"}
    assert plan.title == "a.jsonl, b.jsonl"
