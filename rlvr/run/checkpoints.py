"""Checkpoints that are whole or not there: written aside, synced, renamed.

checkpoints/step_000050/   learner/ (DeepSpeed's shards)  state.json
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from rlvr.errors import RLVRError
from rlvr.types import TrainState

__all__ = ["Checkpoints"]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def latest(self) -> tuple[Path, TrainState] | None:
        """The newest whole checkpoint, or None."""
        for path in reversed(self._all()):
            return path, TrainState(**json.loads((path / "state.json").read_text(encoding="utf-8")))
        return None

    @property
    def latest_step(self) -> int:
        """That of the newest whole checkpoint; 0 where there is none."""
        found = self.latest()
        return found[1].step if found else 0

    async def save(self, state: TrainState, write: Callable[[str], Awaitable[None]]) -> Path:
        """Have `write` fill a folder, add the state, and only then give it its name.

        Raises:
            RLVRError: where the disk refuses; older checkpoints stay.
        """
        final = self._folder / f"step_{state.step:06d}"
        aside = self._folder / f".{final.name}.tmp"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            await write(str(aside.resolve()))
            (aside / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
            _sync_tree(aside)
            shutil.rmtree(final, ignore_errors=True)
            aside.rename(final)
            _sync(self._folder)
        except OSError as error:
            raise RLVRError(
                f"{final}: the checkpoint cannot be written: {error.strerror}; older ones stay"
            ) from error
        for old in self._all()[: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def _all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(p for p in self._folder.glob("step_*") if (p / "state.json").exists())


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
