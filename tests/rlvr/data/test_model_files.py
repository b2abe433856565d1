"""Checks of a model's folder without loading it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from model_folders import write_model

from rlvr.data.model_files import (
    check_context,
    check_model,
    end_token_ids,
    resolve_model,
    weights_bytes,
)
from rlvr.errors import ConfigError


@dataclass(slots=True)
class FakeTokenizer:
    eos_token_id: int | None


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory with the names of a model's files in it."""
    return write_model(tmp_path / "model", max_position_embeddings=128)


def test_a_whole_model_passes(model: Path) -> None:
    check_model(str(model))
    (model / "model.safetensors").rename(model / "pytorch_model-00001-of-00002.bin")
    (model / "tokenizer.json").rename(model / "tokenizer.model")
    check_model(str(model))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", "has no config.json; give the directory of a Hugging Face model"),
        ("model.safetensors", "has no weights"),
        ("tokenizer.json", "has no tokenizer (tokenizer.json, "),
    ],
)
def test_what_a_model_lacks_is_named(model: Path, file: str, said: str) -> None:
    (model / file).unlink()
    with pytest.raises(ConfigError) as refused:
        check_model(str(model))
    assert str(refused.value).startswith(f"model.path: {model} ") and said in str(refused.value)


@pytest.mark.parametrize(
    "path",
    ["./none", "../none", "/none/there", "~/none", "a/b/c", "none/", "runs/none", "my model"],
)
def test_a_directory_that_is_not_there_is_named(path: str) -> None:
    with pytest.raises(ConfigError, match=f"model.path: no directory {path}$"):
        check_model(path)


def test_a_missing_toy_base_names_the_command() -> None:
    with pytest.raises(ConfigError, match="`make base` makes it"):
        check_model("runs/toy-base-of-no-run/model")


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-0.5B", "gpt2"])
def test_a_hub_name_is_left_to_the_hub(name: str) -> None:
    check_model(name)
    assert resolve_model(name) == name
    assert weights_bytes(name) == 0


def test_a_local_model_is_resolved_and_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    assert resolve_model("model") == "model"
    size = weights_bytes("model")
    assert size == (model / "model.safetensors").stat().st_size
    (model / "model-2.safetensors").write_bytes(b"123")
    assert weights_bytes("model") == size + 3


def test_prompt_and_completion_must_fit_into_the_model(model: Path) -> None:
    check_context(str(model), num_tokens=128)
    with pytest.raises(ConfigError, match=r"is 129, and .* reads 128 tokens"):
        check_context(str(model), num_tokens=129)
    check_context("Qwen/Qwen2.5-0.5B", num_tokens=10**6)


def test_all_tokens_that_end_a_text_are_found(model: Path) -> None:
    assert end_token_ids(str(model), FakeTokenizer(2)) == (2,)
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, 2]}))
    (model / "config.json").write_text(json.dumps({"eos_token_id": 0}))
    assert end_token_ids(str(model), FakeTokenizer(2)) == (0, 2, 9)
    assert end_token_ids(str(model), FakeTokenizer(None)) == (0, 2, 9)


def test_a_model_without_end_token_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="names no end-of-sequence token"):
        end_token_ids(str(model), FakeTokenizer(None))
