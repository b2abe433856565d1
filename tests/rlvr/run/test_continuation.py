"""What a run folder allows under a changed config, and what its manifest keeps of the change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import config_of

from rlvr.errors import ConfigError
from rlvr.run.continuation import Trained, claim, noted_changes, write_manifest
from rlvr.run.run_folder import RunFolder, RunStatus, read_json, write_json

WORK = ("checkpoints/step_*/state.json",)
FREE = {"learner": {"lr": 0.5}}
NEUTRAL = {"trackers": {"tensorboard": True}}
FIXED = {"seed": 7, "rewards": {"think_format": 0.5}}


def begun(path: Path, *, step: int = 2, is_finished: bool = False) -> RunFolder:
    """A run of three steps with a checkpoint."""
    folder = RunFolder(path)
    folder.write_config(config_of(path))
    write_json(folder.manifest, {"name": "fake", "inputs": {}})
    if step:
        write_json(folder.checkpoints / f"step_{step:06d}" / "state.json", {"step": step})
    if is_finished:
        write_json(folder.summary, {"num_steps": 3})
    return folder


def claimed(folder: RunFolder, *, step: int = 2, total: int = 3, **sections: Any) -> RunStatus:
    trained = Trained(step=step, total=total, key="num_steps", start_key="from")
    return claim(folder, config_of(folder.path, **sections), work=WORK, trained=trained)


def stored(folder: RunFolder) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    return config


def test_the_same_config_resumes_and_changes_nothing(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    before = {path: path.read_bytes() for path in (folder.config, folder.manifest)}
    assert claimed(folder) is RunStatus.INTERRUPTED
    assert {path: path.read_bytes() for path in before} == before
    assert claimed(begun(tmp_path, is_finished=True)) is RunStatus.FINISHED


def test_free_and_neutral_keys_continue_the_run_and_are_noted_with_the_step(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    assert claimed(folder, total=9, num_steps=9, **FREE, **NEUTRAL) is RunStatus.INTERRUPTED
    config = stored(folder)
    assert (config["num_steps"], config["learner"]["lr"]) == (9, 0.5)
    noted = [{k: v for k, v in one.items() if k != "time"} for one in noted_changes(folder)]
    assert noted == [
        {"step": 2, "key": "learner.lr", "before": 1e-06, "after": 0.5},
        {"step": 2, "key": "num_steps", "before": 3, "after": 9},
        {"step": 2, "key": "trackers.tensorboard", "before": False, "after": True},
    ]
    assert all(one["time"].endswith("+00:00") for one in noted_changes(folder))


def test_the_manifest_of_a_later_start_keeps_the_changes_of_all_earlier_ones(
    tmp_path: Path,
) -> None:
    folder = begun(tmp_path)
    claimed(folder, **FREE)
    write_manifest(folder, {"name": "fake", "seed": 0})
    claimed(folder, learner={"lr": 0.25})
    write_manifest(folder, {"name": "fake", "seed": 0})
    assert [(one["before"], one["after"]) for one in noted_changes(folder)] == [
        (1e-06, 0.5),
        (0.5, 0.25),
    ]
    assert read_json(folder.manifest)["seed"] == 0


def test_fixed_keys_are_refused_all_of_them_and_nothing_is_written(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    before = folder.config.read_bytes()
    with pytest.raises(ConfigError) as refused:
        claimed(folder, **FIXED, **FREE)
    assert str(refused.value) == (
        f"{tmp_path}: made from another config: "
        "rewards.accuracy was {'weight': 1.0, 'only': {}} and is None; "
        "rewards.think_format was None and is {'weight': 0.5, 'only': {}}; "
        "seed was 0 and is 7; "
        f"choose another name=... (with from={tmp_path} from its weights), or delete {tmp_path} "
        "to start over"
    )
    assert folder.config.read_bytes() == before
    assert noted_changes(folder) == []


def test_a_finished_run_with_more_steps_is_unfinished(tmp_path: Path) -> None:
    folder = begun(tmp_path, step=3, is_finished=True)
    assert claimed(folder, step=3, total=6, num_steps=6) is RunStatus.INTERRUPTED
    assert folder.status is RunStatus.INTERRUPTED


def test_a_finished_run_without_a_step_left_refuses_a_change_that_could_not_apply(
    tmp_path: Path,
) -> None:
    folder = begun(tmp_path, step=3, is_finished=True)
    with pytest.raises(ConfigError) as refused:
        claimed(folder, step=3, **FREE)
    assert str(refused.value) == (
        f"{tmp_path}: all 3 steps are trained, and a change applies to later ones: "
        "learner.lr was 1e-06 and is 0.5; give a larger num_steps=..., or choose another name=..."
    )
    assert folder.status is RunStatus.FINISHED


def test_a_finished_run_whose_checkpoints_were_deleted_is_not_trained_again(tmp_path: Path) -> None:
    folder = begun(tmp_path, step=0, is_finished=True)
    with pytest.raises(ConfigError, match=f"checkpoints are gone.* from={tmp_path}"):
        claimed(folder, step=0, total=6, num_steps=6)
    assert folder.status is RunStatus.FINISHED


def test_a_neutral_change_leaves_a_finished_run_as_it_is(tmp_path: Path) -> None:
    folder = begun(tmp_path, step=3, is_finished=True)
    assert claimed(folder, step=3, **NEUTRAL) is RunStatus.FINISHED
    assert stored(folder)["trackers"]["tensorboard"] is False


@pytest.mark.parametrize("is_finished", [False, True])
def test_fewer_steps_than_are_trained_are_refused(tmp_path: Path, is_finished: bool) -> None:
    folder = begun(tmp_path, step=2, is_finished=is_finished)
    with pytest.raises(ConfigError) as refused:
        claimed(folder, total=1, num_steps=1)
    assert str(refused.value).startswith(
        f"num_steps: 1 steps are fewer than the 2 that {tmp_path} has trained; "
    )


def test_an_interrupted_run_may_end_where_it_is(tmp_path: Path) -> None:
    assert claimed(begun(tmp_path), total=2, num_steps=2) is RunStatus.INTERRUPTED


def test_a_folder_without_work_is_begun_anew_whatever_differs(tmp_path: Path) -> None:
    folder = begun(tmp_path, step=0)
    assert claimed(folder, step=0, **FIXED) is RunStatus.NEW
    assert stored(folder)["seed"] == 7
    assert not folder.manifest.exists()


def test_an_empty_file_is_no_work(tmp_path: Path) -> None:
    folder = begun(tmp_path, step=0)
    (folder.checkpoints / "step_000001").mkdir(parents=True)
    (folder.checkpoints / "step_000001" / "state.json").touch()
    assert claimed(folder, step=0, **FIXED) is RunStatus.NEW


def test_a_folder_of_another_stage_is_not_taken_over(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text("stage: sft\nname: fake\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="stage was 'sft' and is 'grpo'"):
        claimed(folder, step=0)


def test_a_finished_folder_is_begun_anew_only_by_a_repeatable_stage(tmp_path: Path) -> None:
    folder = begun(tmp_path, step=0, is_finished=True)
    other = config_of(tmp_path, seed=7)
    with pytest.raises(ConfigError, match=r"seed was 0 and is 7; choose another name=\.\.\., or"):
        claim(folder, other)
    assert claim(folder, other, is_repeatable=True) is RunStatus.NEW
    assert folder.status is RunStatus.INTERRUPTED
