"""Atomic checkpoints of a training run: written under a temporary name, synced, renamed.

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
from rlvr.run.run_folder import read_json
from rlvr.types import TrainState

__all__ = ["Checkpoints", "fsync_path"]


class Checkpoints:
    """The newest `keep` checkpoints of one run."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def latest(self) -> tuple[Path, TrainState] | None:
        """Return the folder and the state of the newest complete checkpoint, or None."""
        if not (paths := self._complete()):
            return None
        return paths[-1], TrainState(**read_json(paths[-1] / "state.json"))

    @property
    def latest_step(self) -> int:
        """Step of the newest complete checkpoint, or 0."""
        found = self.latest()
        return found[1].step if found else 0

    async def save(self, state: TrainState, write: Callable[[str], Awaitable[None]]) -> Path:
        """Let `write` fill a temporary folder, add the state, then rename it; return its path.

        Raises RLVRError: the disk is full or not writable; older checkpoints stay.
        """
        final = self._folder / f"step_{state.step:06d}"
        temporary = self._folder / f".{final.name}.tmp"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            await write(str(temporary.resolve()))
            (temporary / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
            for path in (*temporary.rglob("*"), temporary):
                fsync_path(path)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            fsync_path(self._folder)
        except OSError as error:
            raise RLVRError(
                f"{final}: the checkpoint cannot be written: {error.strerror}; older ones stay"
            ) from error
        for old in self._complete()[: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def _complete(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in self._folder.glob("step_*") if (p / "state.json").exists())


def fsync_path(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
