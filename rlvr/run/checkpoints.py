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
import re
import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rlvr.config.training_sections import RetentionSection
from rlvr.errors import RLVRError
from rlvr.run.run_folder import read_json, write_json
from rlvr.types import TrainState

__all__ = [
    "CHECKPOINT_NAME",
    "MARKERS",
    "Checkpoints",
    "checkpoint_of",
    "complete_checkpoints",
    "delete_checkpoint",
    "evaluated_checkpoints",
    "fsync_path",
    "kept_steps",
    "run_of",
]

MARKERS = {"step_": "state.json", "checkpoint-": "whole"}  # beginning of a name: last file
CHECKPOINT_NAME = re.compile(r"(step_|checkpoint-)(\d+)")
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
        return paths[-1], TrainState.from_json(read_json(paths[-1] / "state.json"))

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
        paths, scores = complete_checkpoints(self._folder), evaluated_checkpoints(self._folder)
        for step in paths.keys() - kept_steps(paths, self._keep, scores=scores):
            delete_checkpoint(paths[step])


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Return {step: path} of the complete checkpoints of a GRPO or SFT run, oldest first."""
    found = {
        int(name[2]): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (name := CHECKPOINT_NAME.fullmatch(path.name)) and (path / MARKERS[name[1]]).exists()
    }
    return dict(sorted(found.items()))


def evaluated_checkpoints(folder: Path) -> dict[int, float]:
    """Return {step: held-out pass@1} of the complete checkpoints that were evaluated."""
    paths = complete_checkpoints(folder)
    files = {step: path / EVALUATION for step, path in paths.items()}
    return {step: read_json(f)["pass_at_1"] for step, f in files.items() if f.exists()}


def checkpoint_of(model: Path) -> Path | None:
    """Return the checkpoint that holds this model or adapter, or None."""
    return next(
        (path for path in (model, model.parent) if CHECKPOINT_NAME.fullmatch(path.name)), None
    )


def run_of(model: Path) -> Path | None:
    """Return the run folder that this model, adapter or checkpoint belongs to, or None."""
    checkpoint = checkpoint_of(model)
    run = checkpoint.parent.parent if checkpoint else model.parent
    return run if (run / "config.yaml").is_file() else None


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


def fsync_path(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
