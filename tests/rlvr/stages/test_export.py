"""Checks of export, and lineage in the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, RLVRError
from rlvr.stages.export.export_config import ExportConfig, PushSection
from rlvr.stages.export.export_stage import check_export
from rlvr.stages.export.hub_upload import lineage, push_folder, render_card
from rlvr.stages.export.merge_adapters import check_logits


def recipe(run: Path, **values: Any) -> ExportConfig:
    return ExportConfig.model_validate({"name": "a", "run": str(run), **values})


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


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


def test_a_checkpoint_is_exported_without_the_scores_of_the_final_model(tmp_path: Path) -> None:
    run = tmp_path / "rl"
    checkpoint = run / "checkpoints" / "step_000020"
    write(checkpoint / "model" / "config.json", {})
    write(checkpoint / "state.json", {})
    write(run / "config.yaml", {"seed": 1})
    write(run / "manifest.json", {"seed": 1, "inputs": {}})
    write(run / "summary.json", {"after": {"pass_at_1": 0.9}})
    config = recipe(Path(f"{run}@20"))
    inputs = check_export(config)
    assert (inputs.model, inputs.adapter, inputs.run) == (checkpoint / "model", None, run)
    shown = {"base": None, "measured": {"max_logit_diff": 0.0}}
    assert "pass_at_1" in render_card(config, run, **shown)
    card = render_card(config, run, is_final=False, **shown)
    assert "pass_at_1" not in card and f"exported from `{run}@20`" in card and "seed 1" in card


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
