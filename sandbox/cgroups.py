"""A control group for each worker, where this process may make one: the kernel's own hard limit.

It counts what nobody else does, like buffers of pipes and sockets, and acts at once, where a watch
looks every 20 ms. Version 2 (memory and pids delegated to us) or version 1; else none.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

__all__ = ["Cgroup"]

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "sandbox-"
_SLACK_BYTES = 64 << 20  # the worker, and room for the watch to act first
_SLACK_PROCESSES = 8
_VERSIONS = (  # memory limit, what counts kills, process limit
    ("memory.max", "memory.events", "pids.max"),
    ("memory.limit_in_bytes", "memory.oom_control", "pids.max"),
)


class Cgroup:
    """The folders of one group: one in version 2, one for each controller in version 1."""

    def __init__(self, memory: Path, pids: Path, *, version: int) -> None:
        self._memory, self._pids = memory, pids
        self._limit_name, self._events_name, self._pids_name = _VERSIONS[version == 1]
        self._limits = (0, 0)
        self._num_kills = 0

    @classmethod
    def make(cls) -> Cgroup | None:
        """None where that is not for us to do."""
        for version, controllers in ((2, ("", "")), (1, ("memory", "pids"))):
            folders = [_own_folder(controller) for controller in controllers]
            made = [_make_below(folder) for folder in dict.fromkeys(folders) if folder]
            if all(made) and made:
                group = cls(made[0], made[-1], version=version)  # type: ignore[arg-type]
                if group._is_complete():
                    return group
            for folder in filter(None, made):
                _remove(folder)
        return None

    def add(self, pid: int) -> None:
        """A process, and all that it forks from now on."""
        for folder in {self._memory, self._pids}:
            (folder / "cgroup.procs").write_text(str(pid))

    def limit(self, *, memory_bytes: int, processes: int) -> None:
        """Of the next job; the group is empty but for the worker."""
        if (memory_bytes, processes) != self._limits:
            limit_file = self._memory / self._limit_name
            limit_file.write_text(str(memory_bytes + _SLACK_BYTES))
            (self._pids / self._pids_name).write_text(str(processes + _SLACK_PROCESSES))
            self._limits = (memory_bytes, processes)

    def has_killed(self) -> bool:
        """Whether the kernel has killed for memory since this was asked last."""
        text = (self._memory / self._events_name).read_text()
        kills = [int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")]
        before, self._num_kills = self._num_kills, sum(kills)
        return self._num_kills > before

    def remove(self) -> None:
        """After its processes have ended."""
        for folder in {self._memory, self._pids}:
            _remove(folder)

    def _is_complete(self) -> bool:
        names = (self._memory / self._limit_name, self._pids / self._pids_name)
        return all(os.access(name, os.W_OK) for name in names)


def _own_folder(controller: str) -> Path | None:
    """Of this process; the unified hierarchy's for ""."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                below = _ROOT / controller / path.lstrip("/")
                return below if (below / "cgroup.procs").exists() else None
    return None


def _make_below(folder: Path) -> Path | None:
    _remove_stale(folder)
    path = folder / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        path.mkdir()
    except OSError:
        return None
    return path


def _remove_stale(folder: Path) -> None:
    """Groups of processes that were killed before they could tidy up."""
    for path in folder.glob(f"{_PREFIX}*-*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                path.rmdir()


def _remove(folder: Path) -> None:
    for _ in range(20):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # its last process is not quite gone
            time.sleep(0.005)
        else:
            return
