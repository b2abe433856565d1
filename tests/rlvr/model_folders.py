"""Folders with the files that checks look for, without weights worth the name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["safetensors_bytes", "write_model"]


def safetensors_bytes(tensor: str = "weight", *, num_bytes: int = 4) -> bytes:
    """A whole safetensors file with one tensor of zeros."""
    offsets = {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]}
    header = json.dumps({"__metadata__": {"format": "pt"}, tensor: offsets}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(num_bytes)


def write_model(folder: Path, **config: Any) -> Path:
    """Write a folder that looks like a whole model; its tokenizer cannot be loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors_bytes())
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return folder
