"""The run folder: its paths, its lock, the config that it belongs to, and atomic file writes.

runs/NAME/  config.yaml  manifest.json  metrics.jsonl  summary.json
            logs/  rollouts/  checkpoints/  model/  base/ (if it reads a copy of its model)
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from rlvr.config.changes import Change, changes_between
from rlvr.errors import ConfigError, RLVRError, RunLocked

__all__ = [
    "RunFolder",
    "RunStatus",
    "atomic_write",
    "read_json",
    "report_disk_errors",
    "write_json",
    "write_text",
]


class RunStatus(StrEnum):
    """State of a run folder."""

    NEW = "new"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


class RunFolder:
    """Paths, lock and config of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.manifest = path / "manifest.json"
        self.metrics = path / "metrics.jsonl"
        self.summary = path / "summary.json"
        self.logs = path / "logs"
        self.rollouts = path / "rollouts"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"

    @property
    def status(self) -> RunStatus:
        """The folder's state: it is new without a config, finished with a summary."""
        if not self.config.exists():
            return RunStatus.NEW
        return RunStatus.FINISHED if self.summary.exists() else RunStatus.INTERRUPTED

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create and lock the folder; the lock ends with this process, even if it is killed.

        Raises ConfigError: the folder is not writable; RunLocked: a running process holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            why = error.strerror
            raise ConfigError(f"output_dir: {self.path} cannot be written to: {why}") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(lock, 32).decode() or "unknown"
                raise RunLocked(
                    f"{self.path}: process {holder} is running here; wait for it, stop it with "
                    f"`kill {holder}`, or choose another name=..."
                ) from None
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(lock)

    def changes(self, config: BaseModel) -> list[Change]:
        """Return the keys whose values differ from the folder's config."""
        try:
            before = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            why = getattr(error, "problem", None) or error  # YAML's full message has several lines
            raise ConfigError(
                f"{self.config}: cannot be read: {why}; delete {self.path} to start over"
            ) from None
        return changes_between(before if isinstance(before, Mapping) else {}, config)

    def write_config(self, config: BaseModel) -> None:
        """Write the resolved config, to which the folder belongs from now on."""
        resolved = config.model_dump(mode="json")
        write_text(self.config, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; then sync it and rename it to `path`.

    A reader sees the old file or the new one. Raises RLVRError: the file cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with report_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def report_disk_errors(path: Path) -> Iterator[None]:
    """Convert an OSError within the block to an RLVRError that names `path`."""
    try:
        yield
    except OSError as error:
        raise RLVRError(
            f"{path}: cannot be written: {error.strerror or error}; make room and run the same "
            "command to resume"
        ) from error
