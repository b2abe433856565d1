"""The order of the stage protocol, and when a stage runs again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from rlvr.config import StageConfig
from rlvr.config.changes import Free, Neutral
from rlvr.errors import ConfigError, RunLocked
from rlvr.run.run_folder import RunFolder, RunStatus, write_json
from rlvr.run.stage_protocol import STAGES, Stage, load_stage, run_stage


class CountConfig(StageConfig):
    """A recipe with one key of each effect."""

    stage: Literal["count"] = Field("count", description="command")
    start: int = Field(0, description="negative: refused by the check")
    label: Free[str] = Field("a", description="applies from then on")
    threads: Neutral[int] = Field(1, description="has no influence on the result")


class CountStage:
    """A stage that records the calls of the protocol and the folder's status at each of them."""

    def __init__(self, path: Path) -> None:
        self.calls: list[str] = []
        self.folder = RunFolder(path / "runs" / "one")
        self.recipe = path / "recipe.yaml"
        text = f"stage: count\nname: one\noutput_dir: {path / 'runs'}\n"
        self.recipe.write_text(text, encoding="utf-8")
        self.stage = Stage(
            schema=CountConfig,
            check=self.check,
            run=self.run,
            closing=self.closing,
            work=("work.txt",),
            needs_environment=False,
        )

    def check(self, config: CountConfig) -> int:
        self.calls.append(f"check {self.folder.status}")
        if config.start < 0:
            raise ConfigError("start: is negative")
        return config.start + 1

    def run(self, config: CountConfig, folder: RunFolder, inputs: int) -> None:
        self.calls.append(f"run {inputs} {folder.status}")
        (folder.path / "work.txt").write_text("worth keeping", encoding="utf-8")
        write_json(folder.summary, {"label": config.label})

    def closing(self, config: CountConfig, folder: RunFolder) -> str:
        self.calls.append(f"closing {folder.status}")
        return f"closing text of {config.name}"

    def __call__(self, *overrides: str) -> int:
        self.calls.clear()
        return run_stage(self.stage, str(self.recipe), overrides)


@pytest.fixture
def count(tmp_path: Path) -> CountStage:
    return CountStage(tmp_path)


def test_a_new_folder_is_checked_claimed_run_and_closed(
    count: CountStage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert count("start=4") == 0
    # claimed between check and run: the config in the folder turns `new` into `interrupted`
    assert count.calls == ["check new", "run 5 interrupted", "closing finished"]
    assert capsys.readouterr().out == "closing text of one\n"


def test_a_finished_folder_prints_its_closing_text_and_does_not_run(
    count: CountStage, capsys: pytest.CaptureFixture[str]
) -> None:
    count()
    capsys.readouterr()
    assert count() == 0
    assert count.calls == ["closing finished"]  # its inputs may be gone
    closing, how_to_start_over = capsys.readouterr().out.splitlines()
    assert closing == "closing text of one"
    assert str(count.folder.path) in how_to_start_over


def test_an_interrupted_folder_runs_again(count: CountStage) -> None:
    count()
    count.folder.summary.unlink()
    assert count() == 0
    assert count.calls == ["check interrupted", "run 1 interrupted", "closing finished"]


def test_a_repeatable_stage_runs_again_in_a_finished_folder(count: CountStage) -> None:
    count.stage = replace(count.stage, is_repeatable=True)
    count()
    assert count() == 0
    assert count.calls == ["check finished", "run 1 finished", "closing finished"]


def test_a_free_key_may_change_and_the_stage_runs_again(count: CountStage) -> None:
    count()
    assert count("label=b") == 0
    assert count.calls == ["check finished", "run 1 interrupted", "closing finished"]
    assert "label: b" in count.folder.config.read_text(encoding="utf-8")


def test_a_neutral_key_may_change_and_leaves_a_finished_stage_finished(count: CountStage) -> None:
    count()
    assert count("threads=2") == 0
    assert count.calls == ["check finished", "closing finished"]
    count.folder.summary.unlink()
    assert count("threads=2") == 0
    assert count.calls == ["check interrupted", "run 1 interrupted", "closing finished"]
    assert "threads: 2" in count.folder.config.read_text(encoding="utf-8")


def test_a_folder_without_work_is_begun_anew_with_another_config(count: CountStage) -> None:
    count()
    count.folder.summary.unlink()
    (count.folder.path / "work.txt").unlink()
    assert count("start=1") == 0
    assert count.calls == ["check interrupted", "run 2 interrupted", "closing finished"]


def test_another_key_may_not_change(count: CountStage) -> None:
    count()
    with pytest.raises(ConfigError, match="start was 0 and is 1"):
        count("start=1")
    assert count.calls == ["check finished"]


def test_a_failed_check_claims_nothing(count: CountStage) -> None:
    with pytest.raises(ConfigError, match="start: is negative"):
        count("start=-1")
    assert count.folder.status is RunStatus.NEW
    assert count("start=1") == 0  # the folder is free for another config


def test_a_wrong_recipe_makes_no_folder(count: CountStage) -> None:
    with pytest.raises(ConfigError, match="unknown key strat; did you mean start"):
        count("strat=1")
    assert not count.folder.path.exists()


def test_a_held_folder_is_refused_before_the_check(count: CountStage) -> None:
    with count.folder.locked(), pytest.raises(RunLocked):
        count()
    assert count.calls == []


@pytest.mark.parametrize("command", STAGES)
def test_each_stage_module_defines_the_stage_of_its_command(command: str) -> None:
    recipe = "grpo" if command in ("profile", "replay") else command  # they take a GRPO recipe
    assert load_stage(command).schema.model_fields["stage"].default == recipe


def test_stage_modules_import_nothing_heavy() -> None:
    code = "import sys; from rlvr.run.stage_protocol import STAGES, load_stage\n"
    code += "for command in STAGES: load_stage(command)\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    heavy = {"torch", "ray", "vllm", "deepspeed", "transformers", "datasets"}
    assert not heavy & set(done.stdout.split())
