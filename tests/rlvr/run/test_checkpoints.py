"""Checkpoints are atomic."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from rlvr.errors import ActorDied, RLVRError
from rlvr.run.checkpoints import Checkpoints
from rlvr.types import TrainState


def state_at(step: int) -> TrainState:
    return TrainState(step=step, cursor=2 * step, num_tokens=10 * step)


async def write(folder: str) -> None:
    (Path(folder) / "learner").mkdir()
    (Path(folder) / "learner" / "weights.bin").write_bytes(b"weights")


def saved(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        asyncio.run(checkpoints.save(state_at(step), write))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_saved_checkpoint_is_the_latest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert checkpoints.latest() is None
    saved(checkpoints, 3)
    found = checkpoints.latest()
    assert found is not None
    path, state = found
    assert (path.name, state) == ("step_000003", TrainState(step=3, cursor=6, num_tokens=30))
    assert (path / "learner" / "weights.bin").read_bytes() == b"weights"


def test_only_the_newest_stay(tmp_path: Path) -> None:
    saved(Checkpoints(tmp_path, keep=2), 5, 10, 15, 100)
    assert names(tmp_path) == ["step_000015", "step_000100"]


def test_an_interrupted_write_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    saved(checkpoints, 1)

    async def killed(folder: str) -> None:
        (Path(folder) / "weights.bin").write_bytes(b"wei")
        raise ActorDied("learner rank 0 died in save_checkpoint")

    with pytest.raises(ActorDied):
        asyncio.run(checkpoints.save(state_at(2), killed))
    found = Checkpoints(tmp_path, keep=2).latest()
    assert found is not None and found[1].step == 1
    saved(checkpoints, 2)  # in spite of the temporary folder
    assert names(tmp_path) == ["step_000001", "step_000002"]


def test_a_folder_without_its_state_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    (tmp_path / "step_000009").mkdir()
    assert checkpoints.latest() is None
    saved(checkpoints, 9)
    found = checkpoints.latest()
    assert found is not None and found[1].step == 9


def test_a_full_disk_is_a_one_line_error_and_older_ones_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    saved(checkpoints, 1)

    async def full(folder: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RLVRError, match=r"step_000002: .*: No space left on device; older ones"):
        asyncio.run(checkpoints.save(state_at(2), full))
    found = checkpoints.latest()
    assert found is not None and found[1].step == 1


def test_a_folder_that_cannot_be_created_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RLVRError, match="the checkpoint cannot be written: Not a directory"):
        saved(Checkpoints(tmp_path / "file" / "checkpoints", keep=1), 1)


def test_saving_a_step_again_replaces_its_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    saved(checkpoints, 4, 4)
    assert names(tmp_path) == ["step_000004"]
