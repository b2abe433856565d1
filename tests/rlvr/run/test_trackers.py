"""Trackers must start; one that fails later never stops a run."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlvr.config.training_sections import TrackersSection
from rlvr.errors import ConfigError
from rlvr.run.trackers import Trackers, check_trackers

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
def test_a_tracker_that_cannot_start_is_an_error_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^trackers\.tensorboard: cannot start: NotADirectory"):
        Trackers(TrackersSection(tensorboard=True), folder=tmp_path / "file", name="run")


class FakeWandb(ModuleType):
    """A fake package whose network fails after step 1, or at its start."""

    def __init__(self, *, fails_at_start: bool = False) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None, origin="wandb/__init__.py")
        self.fails_at_start = fails_at_start
        self.lines: list[dict[str, Any]] = []
        self.options: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, str | None]] = []
        self.config = FakeConfig()

    def Settings(self, **options: Any) -> dict[str, Any]:
        return options

    def init(self, *, settings: dict[str, Any], **options: Any) -> FakeWandb:
        assert settings["login_timeout"] > 0, "a network that is away must not hold up a run"
        if self.fails_at_start:
            raise ConnectionError("no route to host")
        self.options.append(options)
        return self

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics.append((name, step_metric))

    def Table(self, *, columns: list[str], data: list[list[Any]]) -> dict[str, Any]:
        return {"columns": columns, "data": data}

    def log(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        if line["step"] > 1:
            raise ConnectionError("no route to host")


class FakeConfig(dict[str, Any]):
    """Config that may change only if this is asked for."""

    def update(self, values: dict[str, Any], *, allow_val_change: bool) -> None:  # type: ignore[override]
        assert allow_val_change
        super().update(values)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


WANDB = TrackersSection(wandb=True, completions_every_steps=5)


def test_wandb_gets_config_and_metrics_over_the_runs_own_step(
    tmp_path: Path, wandb: FakeWandb
) -> None:
    Trackers(WANDB, folder=tmp_path, name="run", config={"seed": 3}).write(LINE | {"step": 1})
    assert wandb.config == {"seed": 3}
    assert wandb.lines == [{"reward/mean": 0.5, "tokens/useful": 7.0, "step": 1}]
    assert ("*", "step") in wandb.metrics


def test_a_resumed_run_continues_the_same_wandb_run_and_another_has_its_own(
    tmp_path: Path, wandb: FakeWandb
) -> None:
    for folder in ("a", "a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        Trackers(WANDB, folder=tmp_path / folder, name="run")
    first, again, other = (options["id"] for options in wandb.options)
    assert first == again != other
    assert (tmp_path / "a" / "wandb_id").read_text() == first
    assert {options["resume"] for options in wandb.options} == {"allow"}


def test_completions_are_a_table_at_the_first_step_and_every_few(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeWandb, "log", lambda self, line: self.lines.append(line))
    trackers = Trackers(WANDB, folder=tmp_path, name="run")
    row = {"step": 1, "task_id": "n/0", "completion": "5", "reward": 1.0, "accuracy/value": 1.0}
    for step in range(1, 7):
        trackers.completions([row] * 300, step=step)
    trackers.completions([row], step=6, is_evaluation=True)
    assert [(line["step"], *line) for line in wandb.lines] == [
        (1, "completions", "step"),
        (5, "completions", "step"),
        (6, "eval/completions", "step"),
    ]
    table = wandb.lines[0]["completions"]
    assert table["columns"][-1] == "accuracy/value"
    assert len(table["data"]) == 256
    assert table["data"][0] == [1, "n/0", None, "5", 1.0, None, None, 1.0]


def test_a_tracker_that_fails_later_is_dropped_and_not_called_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wandb: FakeWandb
) -> None:
    trackers = Trackers(WANDB, folder=tmp_path, name="run")
    for step in (1, 2, 3, 4):
        trackers.write(LINE | {"step": step})
    assert [line["step"] for line in wandb.lines] == [1, 2]
    assert "tracker wandb is off: ConnectionError: no route to host" in caplog.text


def test_wandb_that_cannot_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(fails_at_start=True))
    with pytest.raises(ConfigError) as refused:
        Trackers(WANDB, folder=tmp_path, name="run")
    assert str(refused.value) == (
        "trackers.wandb: cannot start: ConnectionError: no route to host; or set "
        "trackers.wandb=false"
    )


def refusal(section: TrackersSection) -> str:
    with pytest.raises(ConfigError) as refused:
        check_trackers(section)
    return str(refused.value)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_is_refused_before_a_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # `import` fails
    section = TrackersSection.model_validate({name: True})
    line = f"trackers.{name}: {name} is not installed; `pip install {name}`, or set "
    assert refusal(section).startswith(line)
    monkeypatch.delitem(sys.modules, name)
    (tmp_path / name).mkdir()  # wandb writes to ./wandb
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert refusal(section).startswith(line)


def test_wandb_without_an_account_is_refused_unless_it_is_offline(
    wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "run `wandb login`, set WANDB_API_KEY, or set WANDB_MODE=offline" in refusal(WANDB)
    with monkeypatch.context() as offline:
        offline.setenv("WANDB_MODE", "offline")
        check_trackers(WANDB)
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n")
    check_trackers(WANDB)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert "no account" in refusal(WANDB)


def test_trackers_that_are_off_are_not_checked() -> None:
    check_trackers(TrackersSection())


def test_trackers_are_off_by_default(tmp_path: Path) -> None:
    Trackers(TrackersSection(), folder=tmp_path, name="run").write(LINE)
    assert list(tmp_path.iterdir()) == []
