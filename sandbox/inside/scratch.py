"""The directory that a job may write to: a private mount, or a watched folder.

PrivateMount    a tmpfs with a size and a number of inodes, replaced after a job that changed it
WatchedFolder   if nothing can be mounted: a folder that is measured while the job runs and emptied
                after it
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from sandbox.inside.linux import MountFlag, landlock_abi, make_ruleset, mount, unmount
from sandbox.inside.protocol import Job

__all__ = ["PrivateMount", "Scratch", "WatchedFolder", "remove_folder"]

_MAX_DEPTH = 64  # of folders; a job with deeper ones counts as over its inodes


class Scratch(Protocol):
    """The working directory of jobs."""

    path: str
    ruleset: int | None  # Landlock's; None if the kernel has none

    def prepare(self, job: Job) -> None:
        """Provide an empty directory with the job's limits."""

    def is_over(self, job: Job, pid: int) -> bool:
        """Return whether the running job has exceeded its disk limits."""

    def clear(self) -> None:
        """Remove everything that the job has written."""


class PrivateMount:
    """A tmpfs at /tmp in the worker's own mount namespace."""

    path = "/tmp"

    def __init__(self) -> None:
        self.ruleset: int | None = None
        self._limits = (0, 0)
        self._untouched: tuple[object, ...] = ()

    def prepare(self, job: Job) -> None:
        limits = (job.disk_bytes, job.inodes)
        if limits == self._limits:
            return
        if self._limits != (0, 0):
            unmount(self.path)
        flags = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOATIME
        options = f"size={job.disk_bytes},nr_inodes={job.inodes + 1},mode=700"
        self._limits = (0, 0)
        mount("tmpfs", self.path, "tmpfs", flags, options)
        self._limits = limits
        self._untouched = self._state()
        if landlock_abi():
            if self.ruleset is not None:
                os.close(self.ruleset)
            self.ruleset = make_ruleset(read=["/"], write=self.path)

    def is_over(self, job: Job, pid: int) -> bool:
        return False  # the kernel enforces the limits of the mount

    def clear(self) -> None:
        """Unmount the directory if anything in it or about it has changed."""
        if self._limits != (0, 0) and self._state() != self._untouched:
            unmount(self.path)
            self._limits = (0, 0)

    def _state(self) -> tuple[object, ...]:
        seen, space = os.stat(self.path), os.statvfs(self.path)
        times = seen.st_mtime_ns, seen.st_ctime_ns
        attributes = os.listxattr(self.path)
        return *times, seen.st_mode, seen.st_nlink, space.f_bfree, space.f_ffree, attributes


class WatchedFolder:
    """A folder on a shared file system."""

    def __init__(self, path: str, ruleset: int | None) -> None:
        self.path = path
        self.ruleset = ruleset
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._free = (0, 0)

    def prepare(self, job: Job) -> None:
        os.fchmod(self._fd, 0o700)
        self._free = self._space()

    def is_over(self, job: Job, pid: int) -> bool:
        """Measure the folder only once the file system has lost half of the job's limits."""
        blocks, inodes = (old - new for old, new in zip(self._free, self._space(), strict=True))
        if blocks <= job.disk_bytes // 2 and inodes <= job.inodes // 2:
            return False
        used_bytes, used_inodes = _measure(self._fd, job.inodes + 1)
        is_over = used_bytes + _deleted_bytes(pid, self.path) > job.disk_bytes
        return is_over or used_inodes > job.inodes

    def clear(self) -> None:
        _empty(self._fd)

    def _space(self) -> tuple[int, int]:
        space = os.fstatvfs(self._fd)
        return space.f_bfree * space.f_frsize, space.f_ffree


def _measure(folder: int, max_inodes: int) -> tuple[int, int]:
    """Return (bytes, inodes) below a folder; counting stops at `max_inodes`."""
    size = count = 0
    for parent, entry in _walk(folder, _MAX_DEPTH):
        if entry is None:
            return size, max_inodes
        with suppress(OSError):  # deleted in the meantime
            size += os.stat(entry.name, dir_fd=parent, follow_symlinks=False).st_blocks * 512
        count += 1
        if count >= max_inodes:
            break
    return size, count


def _walk(folder: int, depth: int) -> Iterator[tuple[int, os.DirEntry[str] | None]]:
    """Yield (parent, entry) below a folder without following links; None for one too deep."""
    if depth == 0:
        yield folder, None
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            yield folder, entry
            if entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    child = _open_folder(folder, entry.name)
                    try:
                        yield from _walk(child, depth - 1)
                    finally:
                        os.close(child)


def _open_folder(parent: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:  # created without permissions for its owner
        os.chmod(f"/proc/self/fd/{parent}/{name}", 0o700)
        return os.open(name, flags, dir_fd=parent)


def _deleted_bytes(pid: int, folder: str) -> float:
    """Return the size of the deleted files that a process holds open; infinite if it maps some."""
    sizes: dict[tuple[int, int], int] = {}
    threads: list[str] = []  # the folder of the process shows nothing if its first thread has ended
    with suppress(OSError):
        threads = os.listdir(f"/proc/{pid}/task")
    for thread in (f"/proc/{pid}/task/{name}" for name in threads):
        with suppress(OSError):
            for fd in os.listdir(f"{thread}/fd"):
                with suppress(OSError):
                    seen = os.stat(f"{thread}/fd/{fd}")
                    if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 0:
                        sizes[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
        with suppress(OSError), open(f"{thread}/maps", "rb") as file:
            if any(b" (deleted)" in line and folder.encode() in line for line in file):
                return math.inf
    return sum(sizes.values())


def remove_folder(path: str) -> None:
    """Remove a folder and everything below it."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _empty(folder)
    finally:
        os.close(folder)
    os.rmdir(path)


def _empty(folder: int) -> None:
    """Remove everything below a folder; nested folders are moved up, so depth costs no fds."""
    os.fchmod(folder, 0o700)
    while names := os.listdir(folder):
        for name in names:
            if not _is_folder(folder, name):
                os.unlink(name, dir_fd=folder)
                continue
            child = _open_folder(folder, name)
            try:
                for below in os.listdir(child):
                    if not _is_folder(child, below):
                        os.unlink(below, dir_fd=child)
                        continue
                    os.chmod(f"/proc/self/fd/{child}/{below}", 0o700)  # must be writable to move
                    new_name = os.urandom(16).hex()  # a job cannot have taken it
                    os.rename(below, new_name, src_dir_fd=child, dst_dir_fd=folder)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=folder)


def _is_folder(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
