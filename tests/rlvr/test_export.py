"""Checks of export, sizes of quantized layers, and lineage in the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, RLVRError
from rlvr.stages.export.export_config import ExportConfig, PushSection
from rlvr.stages.export.export_stage import check_export
from rlvr.stages.export.hub_upload import lineage, push_folder
from rlvr.stages.export.merge_adapters import check_logits


def recipe(run: Path, **values: Any) -> ExportConfig:
    return ExportConfig.model_validate({"name": "a", "run": str(run), **values})


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def gptq_bytes(num_inputs: int, num_outputs: int, *, bits: int = 4, group_size: int = 128) -> int:
    """Return the size of one linear layer in a GPTQ file, in bytes.

    The file holds packed weights; a float16 scale and a packed zero per group and output; and the
    int32 number of its group per input.
    """
    groups = -(-num_inputs // group_size)
    weights = num_inputs * num_outputs * bits // 8
    scales = groups * num_outputs * 2
    zeros = groups * num_outputs * bits // 8
    return weights + scales + zeros + 4 * num_inputs


def test_four_bit_linear_layers_are_less_than_three_tenths_of_sixteen_bit() -> None:
    linears = [(4096, 4096), (4096, 1024), (4096, 14336), (14336, 4096)]  # Llama-3-8B's
    packed = sum(gptq_bytes(n, m) for n, m in linears)
    assert packed / sum(2 * n * m for n, m in linears) <= 0.30
    # 128 x 8: 512 bytes of weights, 16 of scales, 4 of zeros, 512 of group numbers
    assert gptq_bytes(128, 8) == 512 + 16 + 4 + 512


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has neither adapter/ nor model/"):
        check_export(recipe(tmp_path))


def test_wrong_export_recipes_are_one_line(tmp_path: Path) -> None:
    write(tmp_path / "model" / "config.json", {})
    with pytest.raises(ConfigError, match=r"form: adapter; .* holds a whole model"):
        check_export(recipe(tmp_path, form="adapter"))
    with pytest.raises(ConfigError, match=r"evals: nowhere has no summary\.json"):
        check_export(recipe(tmp_path, evals=["nowhere"]))
    with pytest.raises(ConfigError, match="gptq: gptqmodel is not installed"):
        check_export(recipe(tmp_path, gptq={"calibration": "rows.jsonl"}))


@pytest.mark.parametrize(
    ("dtype", "limit"), [("float32", 1e-5), ("float16", 2.5e-3), ("bfloat16", 2e-2)]
)
def test_logits_that_rounding_does_not_explain_are_refused(dtype: str, limit: float) -> None:
    before = torch.ones(10)
    assert check_logits(before, before * (1 + 0.9 * limit), dtype=dtype)
    with pytest.raises(RLVRError, match="nothing was exported"):
        check_logits(before, before * (1 + 1.1 * limit), dtype=dtype)
    with pytest.raises(RLVRError):
        check_logits(before, torch.full((10,), torch.nan), dtype=dtype)


def test_an_unreachable_hub_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_real_token")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RLVRError, match=r"^push: ada/toy: ConnectError: .*; the same command"):
        push_folder(tmp_path, PushSection(repo="ada/toy"))


def test_lineage_goes_back_through_all_runs(tmp_path: Path) -> None:
    base, sft, rl = (tmp_path / name for name in ("base", "sft", "rl"))
    write(base / "manifest.json", {"seed": 1, "inputs": {}})
    write(sft / "manifest.json", {
        "seed": 2,
        "inputs": {
            "model": {"path": str(base / "model"), "sha256": "a" * 64},
            "data": {"path": "rows.jsonl", "sha256": "b" * 64},
        },
    })  # fmt: skip
    write(rl / "manifest.json", {
        "seed": 3, "inputs": {"model.path": {"path": str(sft / "model"), "sha256": "c" * 64}},
    })  # fmt: skip
    assert list(lineage(rl)) == [
        f"- `{rl}`: model, seed 3",
        f"  - model.path: `{sft}/model` (cccccccccccc)",
        f"    - `{sft}`: model, seed 2",
        f"      - model: `{base}/model` (aaaaaaaaaaaa)",
        f"        - `{base}`: model, seed 1",
        "      - data: `rows.jsonl` (bbbbbbbbbbbb)",
    ]
