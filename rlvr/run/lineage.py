"""What a stage was made from: its inputs by hash, so that a chain knows what is stale.

inputs {key: path} --digest--> manifest.json "inputs": {key: {"path": ..., "sha256": ...}}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["changed_inputs", "digest", "input_digests"]

# of a model's folder: what decides how it writes
MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.jinja", "*.txt")


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a model folder's files."""
    if path.is_file():
        return _file_digest(path)
    names = sorted({file.name for pattern in MODEL_FILES for file in path.glob(pattern)})
    lines = "".join(f"{_file_digest(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def input_digests(inputs: Mapping[str, str]) -> dict[str, dict[str, str | None]]:
    """For the manifest; what is no path on this machine (a name on the hub) has no hash."""
    return {
        key: {"path": path, "sha256": digest(Path(path)) if Path(path).exists() else None}
        for key, path in inputs.items()
    }


def changed_inputs(manifest: Mapping[str, Any]) -> list[str]:
    """The keys of those inputs that are no longer what the stage was made from."""
    return [
        key
        for key, before in manifest.get("inputs", {}).items()
        if before["sha256"] is not None and _now(before["path"]) != before["sha256"]
    ]


def _now(path: str) -> str | None:
    return digest(Path(path)) if Path(path).exists() else None


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
