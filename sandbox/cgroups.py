"""A control group for each worker, if this process may create one: the kernel's own hard limit.

It also counts buffers of pipes and sockets, and acts at once, where the watch measures every 20 ms.
Version 2 (with memory and pids delegated to this process) or version 1; otherwise none.
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
_SLACK_BYTES = 64 << 20  # for the worker, and so that the watch acts first
_SLACK_PROCESSES = 8


class Cgroup:
    """The folders of one group: one in version 2, one for each controller in version 1."""

    def __init__(self, memory: Path, pids: Path, *, version: int) -> None:
        names = ("max", "events") if version == 2 else ("limit_in_bytes", "oom_control")
        self._folders = {memory, pids}
        self._memory_limit, self._memory_events = (memory / f"memory.{name}" for name in names)
        self._pids_limit = pids / "pids.max"
        self._limits = (0, 0)
        self._num_kills = 0

    @classmethod
    def make(cls, pid: int) -> Cgroup | None:
        """Move a process and its later forks into a new group, or return None if not allowed."""
        for version, controllers in ((2, ("",)), (1, ("memory", "pids"))):
            folders = [_own_folder(controller) for controller in controllers]
            made = [_make_below(folder) for folder in dict.fromkeys(folders) if folder]
            paths = [path for path in made if path]
            if paths and len(paths) == len(made):
                group = cls(paths[0], paths[-1], version=version)
                limits = (group._memory_limit, group._pids_limit)
                if all(os.access(path, os.W_OK) for path in limits):
                    try:
                        for folder in group._folders:
                            (folder / "cgroup.procs").write_text(str(pid))
                    except OSError:
                        group.remove()
                        return None
                    return group
            for path in paths:
                _remove(path)
        return None

    def limit(self, *, memory_bytes: int, processes: int) -> None:
        """Set the limits of the next job, while only the worker is in the group."""
        if (memory_bytes, processes) != self._limits:
            self._memory_limit.write_text(str(memory_bytes + _SLACK_BYTES))
            self._pids_limit.write_text(str(processes + _SLACK_PROCESSES))
            self._limits = (memory_bytes, processes)

    def has_killed(self) -> bool:
        """Return whether the kernel has killed for memory since the last call."""
        text = self._memory_events.read_text()
        kills = [int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")]
        before, self._num_kills = self._num_kills, sum(kills)
        return self._num_kills > before

    def remove(self) -> None:
        """Remove the group after its processes have ended."""
        for folder in self._folders:
            _remove(folder)


def _own_folder(controller: str) -> Path | None:
    """Return this process's folder; "" is the unified hierarchy."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                below = _ROOT / controller / path.lstrip("/")
                return below if (below / "cgroup.procs").exists() else None
    return None


def _make_below(folder: Path) -> Path | None:
    for path in folder.glob(f"{_PREFIX}*-*"):  # left by processes that were killed
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                path.rmdir()
    path = folder / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        path.mkdir()
    except OSError:
        return None
    return path


def _remove(folder: Path) -> None:
    for _ in range(20):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # its last process has not fully ended
            time.sleep(0.005)
        else:
            return
