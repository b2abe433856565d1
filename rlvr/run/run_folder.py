"""The folder of a run: who may write to it, what state it is in, and what lies where.

runs/NAME/  config.yaml  manifest.json  metrics.jsonl  summary.json
            logs/  rollouts/  checkpoints/  model/
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from rlvr.errors import ConfigError, RLVRError, RunLocked

__all__ = ["RunFolder", "RunStatus", "read_json", "write_json", "written"]


class RunStatus(StrEnum):
    """What a run folder holds."""

    NEW = "new"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


class RunFolder:
    """Paths of a run and the rules about them."""

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
        """New, interrupted or finished."""
        if not self.config.exists():
            return RunStatus.NEW
        return RunStatus.FINISHED if self.summary.exists() else RunStatus.INTERRUPTED

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; the lock ends with this process, however it ends.

        Raises:
            RunLocked: where a living process holds it.
        """
        self._make()
        try:
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written to: {error.strerror}") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(lock, 32).decode() or "unknown"
                raise RunLocked(
                    f"{self.path}: process {holder} is running here; wait for it, stop it with "
                    f"`kill {holder}`, or give another name=..."
                ) from None
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(lock)

    def claim(self, config: BaseModel, *, free: Collection[str] = ()) -> RunStatus:
        """Write the resolved config into a new folder; refuse one that was made from another
        config.

        Sections in `free` may differ: what was done stays, and a finished run becomes an
        interrupted one, whose last part is done anew.

        Raises:
            ConfigError: naming the keys that differ.
        """
        status = self.status
        resolved = config.model_dump(mode="json")
        if status is RunStatus.NEW:
            self._write_config(resolved)
            return status
        if differing := self.differences(config, free=free):
            raise ConfigError(
                f"{self.path}: made from another config: {'; '.join(differing[:5])}; give "
                f"another name=..., "
                f"or delete {self.path} to start anew"
            )
        if self.differences(config):
            self.summary.unlink(missing_ok=True)
            self._write_config(resolved)
        return self.status

    def differences(self, config: BaseModel, *, free: Collection[str] = ()) -> list[str]:
        """In words, the keys in which the folder's config is another one; but for `free` sections.

        Raises:
            ConfigError: the folder's config cannot be read.
        """
        try:
            before = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            why = getattr(error, "problem", None) or error  # YAML's own text has several lines
            raise ConfigError(
                f"{self.config}: cannot be read: {why}; delete {self.path} to start anew"
            ) from None
        resolved = config.model_dump(mode="json")
        return sorted(_differences(_without(free, before), _without(free, resolved)))

    def _write_config(self, resolved: Mapping[str, Any]) -> None:
        _write_text(self.config, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True))

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"output_dir: {self.path} cannot be made: {error.strerror}") from None


def _without(names: Collection[str], config: Any) -> Any:
    if not isinstance(config, Mapping):
        return config
    return {name: value for name, value in config.items() if name not in names}


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            yield from _differences(
                before.get(name), now.get(name), f"{key}.{name}" if key else name
            )
    elif before != now:
        yield f"{key} was {before!r} and is {now!r}"


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write so that a reader sees the old file or the new one, never half of it."""
    _write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".tmp")
    with written(path):
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Raises RLVRError, naming `path`, where the disk refuses what is written within."""
    try:
        yield
    except OSError as error:
        raise RLVRError(
            f"{path}: cannot be written: {error.strerror or error}; make room, and the same "
            "command goes on from the last checkpoint"
        ) from error
