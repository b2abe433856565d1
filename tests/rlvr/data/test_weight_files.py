"""Weight files that are cut short, missing or no weight files, told from their headers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from model_folders import safetensors_bytes

from rlvr.data.weight_files import check_weights
from rlvr.errors import ConfigError

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        check_weights(str(folder), key="model.path")
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"model.path: {folder}/")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A model in two files."""
    for name in (FIRST, SECOND):
        (tmp_path / name).write_bytes(safetensors_bytes(name[:8], num_bytes=400))
    weight_map = {"a": FIRST, "b": SECOND, "c": SECOND}
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    return tmp_path


def test_whole_files_pass(shards: Path) -> None:
    check_weights(str(shards), key="model.path")


def test_a_real_file_passes_and_its_first_half_does_not(tmp_path: Path) -> None:
    numpy, save = pytest.importorskip("numpy"), pytest.importorskip("safetensors.numpy")
    file = tmp_path / "model.safetensors"
    save.save_file({"a": numpy.ones((20, 5)), "b": numpy.ones(3)}, file, metadata={"format": "pt"})
    check_weights(str(tmp_path), key="model.path")
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    said = f"model.safetensors is cut short: it has {size - 1:,} of {size:,} bytes; "
    assert refusal(tmp_path).startswith(said)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (0, "is cut short: it has 0 bytes"),
        (5, "is cut short: it has 5 bytes"),
        (20, "is cut short within its header: it has 20 bytes"),
        (300, "is cut short: it has 300 of "),
    ],
)
def test_a_file_that_is_cut_anywhere_is_named(shards: Path, kept: int, said: str) -> None:
    (shards / SECOND).write_bytes((shards / SECOND).read_bytes()[:kept])
    line = refusal(shards)
    assert line.startswith(f"{SECOND} {said}")
    assert line.endswith("copy or download it again")


def test_a_file_that_only_the_index_names_is_missed(shards: Path) -> None:
    (shards / SECOND).unlink()
    assert refusal(shards).startswith(f"{SECOND} is missing, and the model's index names it")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "is not a safetensors file"),
        (b"\x05" + bytes(7) + b"hello", "is not a safetensors file: its header cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert refusal(tmp_path).startswith(f"model.safetensors {said}")


def test_a_broken_index_is_named(shards: Path) -> None:
    (shards / "model.safetensors.index.json").write_text("{")
    assert refusal(shards).startswith("model.safetensors.index.json is no index of weight files")


def test_a_torch_file_without_its_end_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", "x" * 1000)
    check_weights(str(tmp_path), key="model.path")
    file.write_bytes(file.read_bytes()[:500])
    assert refusal(tmp_path).startswith("pytorch_model.bin is cut short: it has 500 bytes and no")


def test_an_old_torch_file_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02 a pickle")
    check_weights(str(tmp_path), key="model.path")


def test_the_index_of_files_that_were_left_out_on_purpose_is_ignored(shards: Path) -> None:
    index = json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}})
    (shards / "pytorch_model.bin.index.json").write_text(index)
    check_weights(str(shards), key="model.path")
