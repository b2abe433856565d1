"""The estimate of training memory, worked out by hand for a tiny and for a real shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_folders import write_model

from rlvr.errors import ConfigError
from rlvr.stages.sft.sft_config import LoraSection, SftConfig
from rlvr.stages.sft.sft_plan import SftPlan, make_plan
from rlvr.stages.sft.training_memory import (
    ModelShape,
    check_training_memory,
    model_shape,
    num_lora_params,
    training_bytes,
)

GIB = 2**30
LLAMA_8B = ModelShape(
    hidden=4096,
    layers=32,
    intermediate=14336,
    vocabulary=128256,
    query_width=4096,
    key_width=1024,
    is_tied=False,
)


def plan_of(**values: Any) -> SftPlan:
    given = {"name": "a", "model": "m", "data": "rows.jsonl", **values}
    return make_plan(SftConfig.model_validate(given), is_cpu=True)


def test_parameters_of_llama_are_counted_to_the_thousandth() -> None:
    assert LLAMA_8B.num_params == pytest.approx(8_030_261_248, rel=1e-3)


def test_lora_parameters_are_rank_times_inputs_and_outputs() -> None:
    # q 8192, k and v 5120 each, o 8192, gate, up and down 18432 each: 81,920 * 16 * 32 layers
    assert num_lora_params(LLAMA_8B, LoraSection()) == 81_920 * 16 * 32 == 41_943_040
    two = LoraSection(layers_to_transform=[0, 5], targets=["q_proj"])
    assert num_lora_params(LLAMA_8B, two) == 8192 * 16 * 2


def test_full_training_in_float32_takes_sixteen_bytes_a_parameter() -> None:
    shape = ModelShape(
        hidden=8, layers=2, intermediate=16, vocabulary=32, query_width=8, key_width=4, is_tied=True
    )
    linear = 2 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)
    assert shape.num_params == linear + 32 * 8
    plan = plan_of(batch_size=3, max_tokens=99)
    activations = 2 * 34 * 2 * 3 * 10 * 8  # 2 layers, float32, 3 rows of 10 tokens
    needed = training_bytes(plan, shape, row_tokens=10)
    assert needed == 16 * shape.num_params + activations


def test_qlora_of_eight_billion_fits_where_full_training_does_not() -> None:
    qlora = plan_of(preset="medical_qlora")
    needed = training_bytes(qlora, LLAMA_8B, row_tokens=2048)
    assert 6 * GIB < needed < 10 * GIB
    full = plan_of(dtype="bfloat16", gradient_checkpointing=True)
    assert training_bytes(full, LLAMA_8B, row_tokens=2048) > 120 * GIB


def test_zero_shards_moments_gradients_and_weights() -> None:
    def needed(stage: int | None, **values: Any) -> int:
        section = {"zero_stage": stage, **values}
        plan = plan_of(
            num_ranks=1 if stage is None else 4, deepspeed=section, gradient_checkpointing=True
        )
        return training_bytes(plan, LLAMA_8B, row_tokens=1)

    plain = needed(None)
    params = LLAMA_8B.num_params
    assert plain - needed(1) == 8 * params * 3 // 4
    assert needed(1) - needed(2) == 4 * params * 3 // 4
    assert needed(2) - needed(3) == 4 * params * 3 // 4
    assert needed(3) - needed(3, offload_optimizer=True) == 8 * params // 4


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    values = {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
    }
    write_model(tmp_path, **values)
    assert model_shape(str(tmp_path)) == LLAMA_8B
    with pytest.raises(ConfigError) as refused:
        check_training_memory(plan_of(model=str(tmp_path)), row_tokens=512, free_bytes=16 * GIB)
    assert "memory: training 8.03 billion parameters needs about" in str(refused.value)
    assert "16.0 GiB are free" in str(refused.value)


def test_a_model_of_another_kind_is_not_judged(tmp_path: Path) -> None:
    assert model_shape(str(tmp_path)) is None
    check_training_memory(plan_of(model="gpt2"), row_tokens=9, free_bytes=1)
