"""Atomic checkpoints of a training run: written under a temporary name, synced, renamed.

checkpoints/step_000050/   learner/ (DeepSpeed's shards)  model/ (Hugging Face)  state.json
                           evaluation.json, once the weights have been evaluated
checkpoints/checkpoint-50/ of `rlvr sft`: files of the trainer, model or adapter, whole

The last file of each marks it as complete. A checkpoint is deleted by a rename first, so that a
reader sees all of it or nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rlvr.config.sections import RetentionSection
from rlvr.errors import RLVRError
from rlvr.run.run_folder import read_json, write_json
from rlvr.types import TrainState

__all__ = [
    "MARKERS",
    "Checkpoints",
    "complete_checkpoints",
    "copy_model",
    "delete_checkpoint",
    "fsync_path",
    "kept_steps",
]

MARKERS = {"step_": "state.json", "checkpoint-": "whole"}  # prefix of a name: its last file
EVALUATION = "evaluation.json"


class Checkpoints:
    """The checkpoints of one GRPO run, of which `keep` says how many stay."""

    def __init__(self, folder: Path, *, keep: RetentionSection) -> None:
        self._folder = folder
        self._keep = keep

    def latest(self) -> tuple[Path, TrainState] | None:
        """Return the folder and the state of the newest complete checkpoint, or None."""
        if not (paths := list(complete_checkpoints(self._folder).values())):
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
            delete_checkpoint(final)
            temporary.rename(final)
            fsync_path(self._folder)
        except OSError as error:
            raise RLVRError(
                f"{final}: the checkpoint cannot be written: {error.strerror}; older ones stay"
            ) from error
        self._prune()
        return final

    def record_evaluation(self, step: int, *, pass_at_1: float) -> None:
        """Store the score of the checkpoint of `step`, if there is one, and apply keep.best."""
        if path := complete_checkpoints(self._folder).get(step):
            write_json(path / EVALUATION, {"pass_at_1": pass_at_1})
            self._prune()

    def _prune(self) -> None:
        paths = complete_checkpoints(self._folder)
        files = {step: path / EVALUATION for step, path in paths.items()}
        scores = {s: read_json(file)["pass_at_1"] for s, file in files.items() if file.exists()}
        for step in paths.keys() - kept_steps(paths, self._keep, scores=scores):
            delete_checkpoint(paths[step])


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Return {step: path} of the complete checkpoints of a GRPO or SFT run, oldest first."""
    return dict(
        sorted(
            (int(path.name.removeprefix(prefix)), path)
            for prefix, marker in MARKERS.items()
            for path in folder.glob(f"{prefix}*")
            if path.name.removeprefix(prefix).isdecimal() and (path / marker).exists()
        )
    )


def kept_steps(
    steps: Collection[int], keep: RetentionSection, *, scores: Mapping[int, float]
) -> set[int]:
    """Return the steps whose checkpoints stay: the newest, the best, and multiples of keep.every.

    Of equal scores the later is better.
    """
    newest = sorted(steps)[-keep.last :]
    best = sorted(scores, key=lambda step: (scores[step], step), reverse=True)[: keep.best]
    multiples = [step for step in steps if keep.every and step % keep.every == 0]
    return {*newest, *best, *multiples}


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint, if it exists; for readers it disappears at once."""
    aside = path.with_name(f".{path.name}.old")
    with suppress(OSError):
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def copy_model(source: Path, target: Path) -> None:
    """Copy a model's folder, with hard links to its weights where the file system allows it.

    `target` is replaced at once. Raises FileNotFoundError: `source` was deleted meanwhile;
    RLVRError: the disk is full or not writable.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    files = [path for path in source.rglob("*") if path.is_file()]
    try:
        for file in files:
            copy = temporary / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(file, copy)
        if not source.is_dir():
            raise FileNotFoundError(source)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not source.is_dir():
            raise FileNotFoundError(f"{source} was deleted") from error
        raise RLVRError(f"{target}: cannot be written: {error.strerror}") from error


def _link_or_copy(source: Path, target: Path) -> None:
    if source.suffix in (".safetensors", ".bin"):
        with suppress(OSError):  # another disk, or a file system without hard links
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def fsync_path(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
