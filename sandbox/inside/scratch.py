"""The directory that a job may write to: a private mount, or a watched directory.

PrivateMount    a tmpfs of its own with a size and a number of inodes; new for each job that follows
                one that left a trace
WatchedFolder   where nothing can be mounted: a folder that is measured while the job runs and
                emptied after it
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from sandbox.inside import landlock, linux
from sandbox.inside.linux import MountFlag
from sandbox.inside.protocol import Job

__all__ = ["PrivateMount", "Scratch", "WatchedFolder", "folder_ruleset", "remove_folder"]

MAX_DEPTH = 64  # of folders; below that a job counts as over its inodes
_READABLE = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom")


class Scratch(Protocol):
    """Where a job works."""

    path: str
    ruleset: int | None  # Landlock's, None where the kernel has none

    def prepare(self, job: Job) -> None:
        """Make it empty and set its limits."""

    def is_over(self, job: Job, pid: int) -> bool:
        """Whether the running job has written more than it may."""

    def clear(self) -> None:
        """Leave nothing of the job."""


class PrivateMount:
    """A tmpfs at /tmp in the worker's own mount namespace."""

    path = "/tmp"

    def __init__(self) -> None:
        self.ruleset: int | None = None
        self._limits = (0, 0)
        self._untouched: tuple[object, ...] = ()

    def prepare(self, job: Job) -> None:
        limits = (job.disk_bytes, job.inodes)
        if limits != self._limits:
            self.clear(anyway=True)
            self._mount(*limits)

    def is_over(self, job: Job, pid: int) -> bool:
        return False  # the mount's own limits hold

    def clear(self, *, anyway: bool = False) -> None:
        """Give up the mount unless nothing in it or about it has changed."""
        if self._limits == (0, 0) or (not anyway and self._look() == self._untouched):
            return
        linux.unmount(self.path, MountFlag.DETACH)
        self._limits = (0, 0)

    def _mount(self, disk_bytes: int, inodes: int) -> None:
        flags = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOATIME
        options = f"size={disk_bytes},nr_inodes={inodes + 1},mode=700"
        linux.mount("tmpfs", self.path, "tmpfs", flags, options)
        self._limits = (disk_bytes, inodes)
        self._untouched = self._look()
        if landlock.abi():
            if self.ruleset is not None:
                os.close(self.ruleset)
            self.ruleset = _ruleset(read=["/"], write=[self.path])

    def _look(self) -> tuple[object, ...]:
        seen, space = os.stat(self.path), os.statvfs(self.path)
        times = seen.st_mtime_ns, seen.st_ctime_ns
        attributes = os.listxattr(self.path)
        return *times, seen.st_mode, seen.st_nlink, space.f_bfree, space.f_ffree, attributes


class WatchedFolder:
    """A folder on a file system that others use as well."""

    def __init__(self, path: str, ruleset: int | None) -> None:
        self.path = path
        self.ruleset = ruleset
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._free = (0, 0)

    def prepare(self, job: Job) -> None:
        os.fchmod(self._fd, 0o700)
        self._free = self._space()

    def is_over(self, job: Job, pid: int) -> bool:
        """Cheap while the whole file system lost less than a fraction of what the job may take."""
        blocks, inodes = (old - new for old, new in zip(self._free, self._space(), strict=True))
        if blocks <= job.disk_bytes // 2 and inodes <= job.inodes // 2:
            return False
        used_bytes, used_inodes = _measure(self._fd, job.inodes + 1)
        used_bytes += _deleted_bytes(pid)
        is_over = used_bytes > job.disk_bytes or used_inodes > job.inodes
        return is_over or _maps_deleted_files(pid, self.path)

    def clear(self) -> None:
        _empty(self._fd)

    def _space(self) -> tuple[int, int]:
        space = os.fstatvfs(self._fd)
        return space.f_bfree * space.f_frsize, space.f_ffree


def folder_ruleset(path: str, prefix: int) -> int:
    """Landlock's rules for a job that works in a folder; `prefix`: the interpreter's folder."""
    return _ruleset(read=_READABLE, write=[path], more=[prefix])


def _open_paths(paths: Sequence[str]) -> list[int]:
    """Descriptors that only stand for their path; those that do not exist are left out."""
    opened = []
    for path in paths:
        with suppress(OSError):
            opened.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
    return opened


def _ruleset(*, read: Sequence[str], write: Sequence[str], more: Sequence[int] = ()) -> int:
    lists = _open_paths(read), _open_paths(write), _open_paths(_DEVICES)
    try:
        return landlock.make_ruleset(read=[*lists[0], *more], write=lists[1], devices=lists[2])
    finally:
        for fd in [fd for opened in lists for fd in opened]:
            os.close(fd)


def _measure(folder: int, max_inodes: int) -> tuple[int, int]:
    """Bytes and inodes below a folder; stops counting past `max_inodes`."""
    size = count = 0
    for parent, entry in _walk(folder, MAX_DEPTH):
        if entry is None:
            return size, max_inodes
        with suppress(OSError):  # gone meanwhile
            size += os.stat(entry.name, dir_fd=parent, follow_symlinks=False).st_blocks * 512
        count += 1
        if count >= max_inodes:
            break
    return size, count


def _walk(folder: int, depth: int) -> Iterator[tuple[int, os.DirEntry[str] | None]]:
    """All entries below a folder, never through a link; None for what lies too deep to look at."""
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
    except PermissionError:  # made without rights for its owner
        os.chmod(f"/proc/self/fd/{parent}/{name}", 0o700)
        return os.open(name, flags, dir_fd=parent)


def _deleted_bytes(pid: int) -> int:
    """Of files that a process holds open but that no folder names any more."""
    sizes: dict[tuple[int, int], int] = {}
    for task in _tasks(pid):
        with suppress(OSError):
            for fd in os.listdir(f"{task}/fd"):
                with suppress(OSError):
                    seen = os.stat(f"{task}/fd/{fd}")
                    if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 0:
                        sizes[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
    return sum(sizes.values())


def _maps_deleted_files(pid: int, folder: str) -> bool:
    """Whether it holds files by a mapping alone, of which nobody can tell the size."""
    for task in _tasks(pid):
        with suppress(OSError), open(f"{task}/maps", "rb") as file:
            if any(b" (deleted)" in line and folder.encode() in line for line in file):
                return True
    return False


def _tasks(pid: int) -> list[str]:
    """Its threads: the first one shows nothing when it has ended before the others."""
    with suppress(OSError):
        return [f"/proc/{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task")]
    return []


def remove_folder(path: str) -> None:
    """With everything below it."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _empty(folder)
    finally:
        os.close(folder)
    os.rmdir(path)


def _empty(folder: int) -> None:
    """Remove everything below. Folders are pulled up first: no depth exhausts descriptors."""
    os.fchmod(folder, 0o700)
    while names := os.listdir(folder):
        for name in names:
            if not _is_folder(folder, name):
                os.unlink(name, dir_fd=folder)
                continue
            child = _open_folder(folder, name)
            try:
                for below in os.listdir(child):
                    if _is_folder(child, below):
                        _pull_up(child, below, folder)
                    else:
                        os.unlink(below, dir_fd=child)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=folder)


def _is_folder(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _pull_up(source: int, name: str, target: int) -> None:
    os.chmod(f"/proc/self/fd/{source}/{name}", 0o700)  # to be moved it must be writable
    new_name = os.urandom(16).hex()  # none that a job could have taken
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
