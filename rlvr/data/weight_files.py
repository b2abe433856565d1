"""Check the weight files of a model without reading the weights.

A copy or download that broke off is noticed by its length: the header of a safetensors file says
how long the file is, and an index file says which files there are.

    8 bytes: length of the header | header: {tensor: {"data_offsets": [begin, end]}} | tensors
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError

__all__ = ["check_weights"]

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100 << 20  # the limit of the safetensors library
BIN = "pytorch_model*.bin"
LFS_POINTER = b"version https://git-lfs"
AGAIN = "copy or download it again"


def check_weights(folder: str, *, key: str) -> None:
    """Raise ConfigError for a weight file that is cut short, no weight file at all, or missing.

    key: the recipe key of the folder, for the message.
    """
    is_safe = any(True for _ in Path(folder).glob("*.safetensors"))
    pattern, problem_of = ("*.safetensors", _problem_of) if is_safe else (BIN, _problem_of_bin)
    named = _named_by_indexes(Path(folder).glob(f"{pattern}.index.json"), key=key)
    for file in sorted({*Path(folder).glob(pattern), *named}):
        if not file.exists():
            raise ConfigError(f"{key}: {file} is missing, and the model's index names it; {AGAIN}")
        if problem := problem_of(file):
            raise ConfigError(f"{key}: {file} {problem}")


def _named_by_indexes(indexes: Iterable[Path], *, key: str) -> set[Path]:
    """Return the files that the index files of a model in several files name."""
    named = set()
    for index in indexes:
        try:
            files = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            named |= {index.with_name(name) for name in files}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise ConfigError(f"{key}: {index} is no index of weight files; {AGAIN}") from None
    return named


def _problem_of(file: Path) -> str:
    """Return what is wrong with a safetensors file, or ""."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            return "is a pointer of Git LFS; fetch the weights with `git lfs pull`"
        if size < LENGTH_BYTES:
            return f"is cut short: it has {size} bytes; {AGAIN}"
        header_bytes = int.from_bytes(start[:LENGTH_BYTES], "little")
        if not 2 <= header_bytes <= MAX_HEADER_BYTES:
            return f"is not a safetensors file; {AGAIN}"
        stream.seek(LENGTH_BYTES)
        text = stream.read(header_bytes)
    if len(text) < header_bytes:
        return f"is cut short within its header: it has {size:,} bytes; {AGAIN}"
    try:
        needed = LENGTH_BYTES + header_bytes + _tensor_bytes(json.loads(text))
    except (ValueError, KeyError, AttributeError, TypeError):
        return f"is not a safetensors file: its header cannot be read; {AGAIN}"
    if size < needed:
        return f"is cut short: it has {size:,} of {needed:,} bytes; {AGAIN}"
    return ""


def _tensor_bytes(header: Mapping[str, Any]) -> int:
    tensors = (value for name, value in header.items() if name != "__metadata__")
    return max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)


def _problem_of_bin(file: Path) -> str:
    """Return what is wrong with a file of torch.save, or ""; old ones are no zip archives."""
    with file.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
        stream.seek(0, os.SEEK_END)
        size = stream.tell()
    if start == LFS_POINTER:
        return "is a pointer of Git LFS; fetch the weights with `git lfs pull`"
    is_cut = size == 0 or (start.startswith(b"PK") and not zipfile.is_zipfile(file))
    return f"is cut short: it has {size:,} bytes and no end; {AGAIN}" if is_cut else ""
