"""The classes that are known in advance are those that AutoTokenizer picks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from rlvr.data.tokenizer_loading import KNOWN_CLASSES, known_class, load_tokenizer

TEXTS = ["User: What is 12 + 7?\nAssistant: <think>", "还剩多少页?  a\tb", ""]


@pytest.mark.parametrize(("model_type", "tokenizer_class"), KNOWN_CLASSES)
def test_a_known_class_is_that_of_auto_tokenizer(
    model_type: str, tokenizer_class: str, tiny_model: Path, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = tokenizer_class
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert known_class(str(tmp_path)) == KNOWN_CLASSES[model_type, tokenizer_class]
    expected = AutoTokenizer.from_pretrained(tmp_path)
    found = load_tokenizer(str(tmp_path))
    assert type(found) is type(expected)
    assert found(TEXTS)["input_ids"] == expected(TEXTS)["input_ids"]


def test_the_toy_model_is_known(tiny_model: Path) -> None:
    assert known_class(str(tiny_model)) is not None
