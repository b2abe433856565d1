"""Trackers copy the metrics, and a failing one never stops a run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlvr.config.training_sections import TrackersSection
from rlvr.run.trackers import Trackers

LINE = {"step": 3, "reward/mean": 0.5, "policy/entropy": None, "text": "x", "tokens/useful": 7}


@pytest.mark.filterwarnings("default")  # of tensorboard's own imports
def test_tensorboard_gets_the_numbers_of_a_line(tmp_path: Path) -> None:
    trackers = Trackers(TrackersSection(tensorboard=True), folder=tmp_path, name="run")
    trackers.write(LINE)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["reward/mean", "tokens/useful"]
    [scalar] = events.Scalars("reward/mean")
    assert (scalar.step, scalar.value) == (3, 0.5)


@pytest.mark.filterwarnings("default")
def test_a_tracker_that_cannot_start_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        trackers = Trackers(TrackersSection(tensorboard=True), folder=tmp_path / "file", name="run")
    assert "tracker tensorboard is off: NotADirectoryError" in caplog.text
    trackers.write(LINE)


def test_a_tracker_that_is_not_installed_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # `import wandb` fails
    trackers = Trackers(TrackersSection(wandb=True), folder=tmp_path, name="run")
    assert "tracker wandb is off: ModuleNotFoundError" in caplog.text
    trackers.write(LINE)


class FakeWandb(ModuleType):
    """A fake package whose network fails after the first line."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[dict[str, float], int]] = []

    def Settings(self, **options: Any) -> dict[str, Any]:
        return options

    def init(self, *, settings: dict[str, Any], **options: Any) -> FakeWandb:
        assert settings["login_timeout"] > 0, "a network that is away must not hold up a run"
        return self

    def log(self, numbers: dict[str, float], *, step: int) -> None:
        self.calls.append((numbers, step))
        if step > 1:
            raise ConnectionError("no route to host")


def test_a_tracker_that_fails_later_is_dropped_and_not_called_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    trackers = Trackers(TrackersSection(wandb=True), folder=tmp_path, name="run")
    for step in (1, 2, 3, 4):
        trackers.write(LINE | {"step": step})
    assert [step for _, step in wandb.calls] == [1, 2]
    assert wandb.calls[0][0] == {"reward/mean": 0.5, "tokens/useful": 7.0}
    assert "tracker wandb is off: ConnectionError: no route to host" in caplog.text


def test_trackers_are_off_by_default(tmp_path: Path) -> None:
    Trackers(TrackersSection(), folder=tmp_path, name="run").write(LINE)
    assert list(tmp_path.iterdir()) == []
