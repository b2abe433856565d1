"""The run folder: its lock, config, status and atomic writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes import config_of

from rlvr.errors import ConfigError, RunLocked
from rlvr.run.run_folder import RunFolder, RunStatus, read_json, write_json

HOLD = """
import sys
from pathlib import Path
from rlvr.run.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def held_by_another(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds the folder until its input ends or it is killed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_a_folder_held_by_a_running_process_is_refused_until_the_process_ends(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path / "run")
    with held_by_another(folder.path) as holder:
        with pytest.raises(RunLocked) as refused, folder.locked():
            pass
        assert f"process {holder.pid} is running here" in str(refused.value)
        assert f"kill {holder.pid}" in str(refused.value)
        assert refused.value.exit_status == 2
        os.kill(holder.pid, signal.SIGKILL)
    with folder.locked():
        assert (folder.path / ".lock").read_text() == str(os.getpid())


def test_the_lock_is_released_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), folder.locked():
        _ = 1 / 0
    with folder.locked():
        pass
    with folder.locked():
        pass


def test_a_folder_that_cannot_be_created_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = RunFolder(tmp_path / "file" / "run")
    with pytest.raises(ConfigError, match=r"output_dir: .* cannot be written to"), folder.locked():
        pass


def test_the_config_in_the_folder_has_the_defaults_too(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path), config_of(tmp_path)
    folder.write_config(config)
    written = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    assert written["rollout"]["temperature"] == 1.0
    assert folder.changes(config) == []


def test_the_status_is_told_by_config_and_summary(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.status is RunStatus.NEW
    folder.write_config(config_of(tmp_path))
    assert folder.status is RunStatus.INTERRUPTED
    write_json(folder.summary, {"num_steps": 3})
    assert folder.status is RunStatus.FINISHED


def test_a_config_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text("a: {", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        folder.changes(config_of(tmp_path))
    assert "\n" not in str(refused.value)


def test_a_partly_written_file_is_ignored(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "config.yaml.tmp").write_text("name: fa", encoding="utf-8")
    assert folder.status is RunStatus.NEW
    folder.write_config(config_of(tmp_path))
    (tmp_path / "summary.json.tmp").write_text('{"num_', encoding="utf-8")
    assert folder.status is RunStatus.INTERRUPTED


def test_json_round_trips(tmp_path: Path) -> None:
    data = {"before": None, "text": "二加三", "wall_s": 1.5}
    write_json(tmp_path / "summary.json", data)
    assert read_json(tmp_path / "summary.json") == data
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
