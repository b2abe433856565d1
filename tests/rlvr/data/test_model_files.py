"""Which model a path names, and checks of its folder without loading it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from model_folders import write_model

from rlvr.data.model_files import (
    absolute_path,
    below_adapter,
    check_context,
    check_model,
    end_token_ids,
    resolve_model,
    tokenizer_folder,
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
    assert resolve_model("model") == check_model("model") == "model"
    assert absolute_path("model") == str(model.resolve())
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


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A GRPO run that has checkpoints of steps 20 and 40 and goes on."""
    folder = tmp_path / "run"
    for step in (20, 40):
        checkpoint = folder / "checkpoints" / f"step_{step:06d}"
        write_model(checkpoint / "model")
        (checkpoint / "state.json").touch()
    (folder / "config.yaml").touch()
    return folder


def test_a_run_that_goes_on_is_its_newest_checkpoint(run: Path) -> None:
    newest = str(run / "checkpoints" / "step_000040" / "model")
    assert check_model(str(run)) == newest
    (run / "checkpoints" / "step_000060").mkdir()  # not complete
    write_model(run / "model")  # of fewer steps, before the run was continued
    assert check_model(str(run)) == newest


def test_a_finished_run_is_its_model(run: Path) -> None:
    write_model(run / "model")
    (run / "summary.json").touch()
    assert check_model(str(run)) == str(run / "model")


def test_a_step_and_a_checkpoint_s_folder_name_the_same_model(run: Path) -> None:
    checkpoint = run / "checkpoints" / "step_000020"
    named = (f"{run}@20", f"{run}/@20", str(checkpoint), str(checkpoint / "model"))
    assert {Path(check_model(path)) for path in named} == {checkpoint / "model"}


def test_a_step_that_is_not_there_lists_those_that_are(run: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        check_model(f"{run}@25", key="run")
    assert str(refused.value).startswith(
        f"run: {run} has no checkpoint of step 25; those on disk: 20, 40; "
    )
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ConfigError, match="no checkpoint of step 20; those on disk: none; "):
        check_model(f"{run}@20")
    with pytest.raises(ConfigError, match="has no model and no complete checkpoint yet"):
        check_model(str(run))


def test_of_many_steps_some_are_listed(run: Path) -> None:
    for step in range(100, 1100):
        (run / "checkpoints" / f"step_{step:06d}").mkdir()
        (run / "checkpoints" / f"step_{step:06d}" / "state.json").touch()
    with pytest.raises(ConfigError, match=r"on disk: 20, 40, 100, .*, 107, \.\.\., 1099; "):
        check_model(f"{run}@25")


def test_best_is_the_checkpoint_with_the_highest_score(run: Path) -> None:
    with pytest.raises(ConfigError, match="@best: no checkpoint on disk has been evaluated"):
        check_model(f"{run}@best")
    for step, score in [(20, 0.9), (40, 0.8)]:
        file = run / "checkpoints" / f"step_{step:06d}" / "evaluation.json"
        file.write_text(json.dumps({"pass_at_1": score}))
    assert check_model(f"{run}@best") == str(run / "checkpoints" / "step_000020" / "model")


def test_a_checkpoint_that_is_not_complete_is_refused(run: Path) -> None:
    (run / "checkpoints" / "step_000020" / "state.json").unlink()
    with pytest.raises(ConfigError, match=r"step_000020 is not complete$"):
        check_model(str(run / "checkpoints" / "step_000020"))


def test_a_checkpoint_without_a_model_says_what_it_holds(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "step_000020" / "model")
    (run / "checkpoints" / "step_000020" / "learner").mkdir()
    with pytest.raises(ConfigError, match=r"has no config\.json; .* it holds learner, state.json"):
        check_model(f"{run}@20")


def test_checkpoints_of_sft_are_models_themselves(tmp_path: Path) -> None:
    checkpoint = write_model(tmp_path / "sft" / "checkpoints" / "checkpoint-50")
    (checkpoint / "whole").touch()
    assert (
        check_model(f"{tmp_path}/sft@50") == check_model(str(tmp_path / "sft")) == str(checkpoint)
    )


def test_a_folder_of_a_model_alone_is_no_run(tmp_path: Path) -> None:
    write_model(tmp_path / "download" / "model")
    assert check_model(str(tmp_path / "download")) == str(tmp_path / "download" / "model")


def test_a_file_is_no_model(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json is a file; give the directory"):
        check_model(str(model / "config.json"))


@pytest.fixture
def adapter(model: Path, tmp_path: Path) -> Path:
    """The folder of an SFT run with an adapter over `model`."""
    folder = tmp_path / "sft" / "adapter"
    folder.mkdir(parents=True)
    config = {"base_model_name_or_path": str(model)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").touch()
    return folder


def test_an_adapter_is_found_with_the_model_below_it(adapter: Path, model: Path) -> None:
    assert check_model(str(adapter.parent), allow_adapter=True) == str(adapter)
    assert below_adapter(str(adapter)) == str(model)
    assert tokenizer_folder(str(adapter)) == str(model)
    (adapter / "tokenizer.json").touch()
    assert tokenizer_folder(str(adapter)) == str(adapter)


def test_an_adapter_is_refused_where_only_a_model_can_be_read(adapter: Path) -> None:
    with pytest.raises(ConfigError, match=r"^distill.model: .* is an adapter; merge it with"):
        check_model(str(adapter), key="distill.model")


def test_an_adapter_whose_model_is_gone_is_refused(adapter: Path, model: Path) -> None:
    shutil.rmtree(model)
    with pytest.raises(ConfigError, match=f"the model below {adapter}: no directory {model}$"):
        check_model(str(adapter), allow_adapter=True)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="does not name its base model"):
        check_model(str(adapter), allow_adapter=True)
