"""Checkpoints are atomic, and those that the recipe names stay."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from rlvr.config.training_sections import RetentionSection
from rlvr.errors import ActorDied, RLVRError
from rlvr.run.checkpoints import Checkpoints, complete_checkpoints
from rlvr.types import Ledger, TrainState


def state_at(step: int) -> TrainState:
    return TrainState(step=step, ledger=Ledger(cursor=2 * step, open=(1,)), num_tokens=10 * step)


async def write(folder: str) -> None:
    (Path(folder) / "learner").mkdir()
    (Path(folder) / "learner" / "weights.bin").write_bytes(b"weights")


def saved(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        asyncio.run(checkpoints.save(state_at(step), write))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_saved_checkpoint_is_the_latest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=RetentionSection(last=2))
    assert checkpoints.latest() is None
    saved(checkpoints, 3)
    found = checkpoints.latest()
    assert found is not None
    path, state = found
    assert (path.name, state) == (
        "step_000003",
        TrainState(step=3, ledger=Ledger(cursor=6, open=(1,)), num_tokens=30),
    )
    assert (path / "learner" / "weights.bin").read_bytes() == b"weights"


def test_only_the_newest_stay(tmp_path: Path) -> None:
    saved(Checkpoints(tmp_path, keep=RetentionSection(last=2)), 5, 10, 15, 100)
    assert names(tmp_path) == ["step_000015", "step_000100"]


def test_an_interrupted_write_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=RetentionSection(last=2))
    saved(checkpoints, 1)

    async def killed(folder: str) -> None:
        (Path(folder) / "weights.bin").write_bytes(b"wei")
        raise ActorDied("learner rank 0 died in save_checkpoint")

    with pytest.raises(ActorDied):
        asyncio.run(checkpoints.save(state_at(2), killed))
    found = Checkpoints(tmp_path, keep=RetentionSection(last=2)).latest()
    assert found is not None and found[1].step == 1
    saved(checkpoints, 2)  # in spite of the temporary folder
    assert names(tmp_path) == ["step_000001", "step_000002"]


def test_a_folder_without_its_state_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=RetentionSection(last=1))
    (tmp_path / "step_000009").mkdir()
    assert checkpoints.latest() is None
    saved(checkpoints, 9)
    found = checkpoints.latest()
    assert found is not None and found[1].step == 9


def test_a_full_disk_is_a_one_line_error_and_older_ones_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=RetentionSection(last=1))
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
        saved(Checkpoints(tmp_path / "file" / "checkpoints", keep=RetentionSection(last=1)), 1)


def test_saving_a_step_again_replaces_its_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=RetentionSection(last=2))
    saved(checkpoints, 4, 4)
    assert names(tmp_path) == ["step_000004"]


def kept(folder: Path) -> list[int]:
    return list(complete_checkpoints(folder))


def test_multiples_stay_for_ever(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=RetentionSection(last=1, every=20))
    saved(checkpoints, 10, 20, 30, 40, 50, 60, 70)
    assert kept(tmp_path) == [20, 40, 60, 70]


def test_the_best_stays_until_a_better_one_is_evaluated(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=RetentionSection(last=1, best=1))
    history = []
    for step, pass_at_1 in [(10, 0.2), (20, 0.7), (30, 0.4), (40, 0.6), (50, 0.7), (60, 0.1)]:
        saved(checkpoints, step)  # before it is evaluated
        checkpoints.record_evaluation(step, pass_at_1=pass_at_1)
        history.append(kept(tmp_path))
    # of the two with 0.7 the later
    assert history == [[10], [20], [20, 30], [20, 40], [50], [50, 60]]


def test_scores_survive_a_new_process(tmp_path: Path) -> None:
    keep = RetentionSection(last=1, best=1)
    saved(Checkpoints(tmp_path, keep=keep), 1)
    Checkpoints(tmp_path, keep=keep).record_evaluation(1, pass_at_1=0.5)
    saved(Checkpoints(tmp_path, keep=keep), 2, 3)
    assert kept(tmp_path) == [1, 3]


def test_an_evaluation_without_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=RetentionSection(last=1, best=1))
    checkpoints.record_evaluation(0, pass_at_1=0.5)
    saved(checkpoints, 5)
    checkpoints.record_evaluation(7, pass_at_1=0.5)
    assert names(tmp_path) == ["step_000005"] and not list(tmp_path.glob("*/evaluation.json"))


def test_checkpoints_of_both_stages_are_found_in_the_order_of_steps(tmp_path: Path) -> None:
    for name in ("step_000100/state.json", "step_1000000/state.json", "step_000020/other"):
        (tmp_path / "grpo" / name).parent.mkdir(parents=True)
        (tmp_path / "grpo" / name).touch()
    for name in ("checkpoint-1000/whole", "checkpoint-900/whole", "checkpoint-1100/other"):
        (tmp_path / "sft" / name).parent.mkdir(parents=True)
        (tmp_path / "sft" / name).touch()
    assert kept(tmp_path / "grpo") == [100, 1_000_000]
    assert kept(tmp_path / "sft") == [900, 1000]
    assert kept(tmp_path / "none") == []
