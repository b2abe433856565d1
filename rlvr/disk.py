"""Writing files of a run, and the one line where the disk refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlvr.errors import RLVRError

__all__ = ["written"]


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Raises RLVRError, naming `path`, where the disk refuses what is written within."""
    try:
        yield
    except OSError as error:
        raise RLVRError(
            f"{path}: cannot be written: {error.strerror or error}; make room, and the same "
            "command goes on from the last checkpoint"
        ) from error
