"""The model that a run reads stays for as long as the run needs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from model_folders import write_model

from rlvr.data.model_copy import copy_model, find_model, hold_model, origin_of, remove_copy
from rlvr.errors import ConfigError, RLVRError


def quiet(_line: str) -> None:
    pass


def checkpoint_at(run: Path, step: int, *, mark: str = "") -> Path:
    """A complete checkpoint; `mark` tells its model from others."""
    folder = run / "checkpoints" / f"step_{step:06d}"
    write_model(folder / "model", mark=mark)
    (folder / "learner").mkdir()
    (folder / "state.json").touch()
    return folder


def mark_of(model: str) -> str:
    return str(json.loads((Path(model) / "config.json").read_text())["mark"])


def test_a_model_is_read_where_it_is(tmp_path: Path) -> None:
    model, copy = str(write_model(tmp_path / "model")), tmp_path / "new" / "base"
    assert hold_model(model, copy=copy) == model
    assert hold_model("Qwen/Qwen2.5-0.5B", copy=copy) == "Qwen/Qwen2.5-0.5B"
    assert not copy.exists()
    assert origin_of(model) == model


def test_a_checkpoint_is_read_from_links_that_outlive_it(tmp_path: Path) -> None:
    source = checkpoint_at(tmp_path / "old", 20)
    copy = tmp_path / "new" / "base"
    assert hold_model(f"{tmp_path}/old@20", copy=copy, say=quiet) == str(copy)
    inodes = {(f / "model.safetensors").stat().st_ino for f in (copy, source / "model")}
    assert len(inodes) == 1
    assert origin_of(str(copy)) == str(source / "model")
    shutil.rmtree(source)
    assert hold_model(f"{tmp_path}/old@20", copy=copy, say=quiet) == str(copy)  # after a resume
    assert (copy / "model.safetensors").stat().st_size > 0


def test_a_resumed_run_reads_the_checkpoint_that_it_began_with(tmp_path: Path) -> None:
    old, copy = tmp_path / "old", tmp_path / "new" / "base"
    checkpoint_at(old, 20, mark="twenty")
    hold_model(str(old), copy=copy, say=quiet)
    checkpoint_at(old, 40, mark="forty")
    assert find_model(str(old), copy=copy) == str(copy)
    assert mark_of(hold_model(str(old), copy=copy, say=quiet)) == "twenty"


def test_another_path_replaces_the_copy(tmp_path: Path) -> None:
    old, copy = tmp_path / "old", tmp_path / "new" / "base"
    checkpoint_at(old, 20, mark="twenty")
    checkpoint_at(old, 40, mark="forty")
    assert mark_of(hold_model(f"{old}@20", copy=copy, say=quiet)) == "twenty"
    assert mark_of(hold_model(f"{old}@40", copy=copy, say=quiet)) == "forty"


def test_a_checkpoint_of_sft_is_copied_without_the_state_of_its_trainer(tmp_path: Path) -> None:
    source = write_model(tmp_path / "sft" / "checkpoints" / "checkpoint-50")
    for name in ("optimizer.pt", "rng_state.pth", "training_args.bin", "whole"):
        (source / name).touch()
    (source / "global_step50").mkdir()
    (source / "global_step50" / "shard.safetensors").touch()
    copy = tmp_path / "new" / "base"
    hold_model(f"{tmp_path}/sft@50", copy=copy, say=quiet)
    names = {path.name for path in copy.rglob("*")}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "origin.json"}


def test_only_a_copy_is_removed(tmp_path: Path) -> None:
    checkpoint_at(tmp_path / "old", 20)
    copy, model = tmp_path / "new" / "base", write_model(tmp_path / "own" / "base")
    hold_model(f"{tmp_path}/old@20", copy=copy, say=quiet)
    for folder in (copy, model, tmp_path / "none"):
        remove_copy(folder)
    assert not copy.exists() and model.exists()


def test_a_checkpoint_that_is_gone_is_one_line(tmp_path: Path) -> None:
    source = checkpoint_at(tmp_path / "old", 20)
    checkpoint_at(tmp_path / "old", 40)
    shutil.rmtree(source)
    with pytest.raises(ConfigError, match=r"^model.path: .*old has no checkpoint of step 20; "):
        hold_model(f"{tmp_path}/old@20", copy=tmp_path / "new" / "base")


def test_a_copied_model_has_texts_of_its_own_and_shares_the_weights(tmp_path: Path) -> None:
    source, target = write_model(tmp_path / "source"), tmp_path / "copy"
    (source / "templates").mkdir()
    (source / "templates" / "tool.jinja").write_text("{{ x }}")
    copy_model(source, target)
    inodes = {(folder / "model.safetensors").stat().st_ino for folder in (source, target)}
    assert len(inodes) == 1
    (target / "config.json").write_text("[]")
    assert (source / "config.json").read_text() == "{}"
    assert (target / "templates" / "tool.jinja").exists()


def test_a_model_that_is_gone_replaces_nothing(tmp_path: Path) -> None:
    target = write_model(tmp_path / "copy")
    with pytest.raises(FileNotFoundError):
        copy_model(tmp_path / "none", target)
    assert (target / "config.json").exists() and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RLVRError, match="cannot be written: Not a directory"):
        copy_model(write_model(tmp_path / "model"), tmp_path / "file" / "copy")
