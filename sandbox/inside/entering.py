"""How a worker leaves the machine behind, once: another user, then namespaces with their own root.

root caller --> unprivileged user --> user, pid, mount, ipc, net, uts, cgroup namespaces
                                  --> a root of /usr and the interpreter, read-only, and a /proc

The worker is process 1 of its pid namespace, and only it holds capabilities there.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from sandbox.inside import linux
from sandbox.inside.linux import MountFlag

__all__ = [
    "PREFIX_FD",
    "become_unprivileged",
    "end_with_parent",
    "enter_namespaces",
    "hide_from_jobs",
    "keep_interpreter",
    "leave_files_behind",
    "show_to_parent",
]

PREFIX_FD = 99  # in a job: the interpreter's folder, where its path is closed to the job's user
_NAMESPACES = 0x10000000 | 0x20000000 | 0x20000 | 0x8000000 | 0x40000000 | 0x4000000 | 0x2000000
_PDEATHSIG, _SET_DUMPABLE = 1, 4
_FIRST_UID = 0x5A000000  # far from any user that exists
_NOBODY = 65534
_INNER_UID = 1000
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("alternatives", "ld.so.cache")
_DEVICES = ("full", "null", "random", "urandom")
_READ_ONLY, _NOSUID_NODEV = 1, MountFlag.NOSUID | MountFlag.NODEV


def become_unprivileged(folder: str) -> bool:
    """A root caller's worker takes a user of its own, to whom `folder` is given.

    Returns whether nobody else has that user.

    The kernel counts the processes of user 0 against no limit, and files say yes to it.
    """
    if os.geteuid() != 0:
        return False
    os.setgroups([])
    for uid in (_FIRST_UID + os.getpid(), _NOBODY):
        with suppress(OSError):  # a container may map few users
            if folder:
                os.chown(folder, uid, uid)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            linux.prctl(_SET_DUMPABLE, 1)  # else /proc/self would be root's
            return uid != _NOBODY
    raise PermissionError("root here may not change its user (CAP_SETUID and CAP_SETGID)")


def keep_interpreter(prefix: int) -> bool:
    """Where the new user cannot reach the interpreter, its modules come by this descriptor.

    Returns whether that was needed.
    """
    if os.access(os.__file__, os.R_OK):
        return False
    os.dup2(prefix, PREFIX_FD, inheritable=False)
    packages = [module.__path__ for module in sys.modules.values() if hasattr(module, "__path__")]
    for paths in (sys.path, *packages):
        there = f"/proc/self/fd/{PREFIX_FD}"
        paths[:] = [path.replace(sys.base_prefix, there, 1) for path in paths]
    sys.path_importer_cache.clear()
    return True


def enter_namespaces(prefix: int) -> None:
    """All but the pid namespace, which the next child is the first process of.

    Raises:
        OSError: the kernel refuses a step; the text says which.
    """
    os.fchdir(prefix)  # the folders above may be closed to the new user, "." is not
    uid, gid = os.getuid(), os.getgid()
    linux.unshare(_NAMESPACES)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_INNER_UID} {uid} 1")
    _write("/proc/self/gid_map", f"{_INNER_UID} {gid} 1")


def hide_from_jobs() -> None:
    """No job of the same user may look into this process."""
    linux.prctl(_SET_DUMPABLE, 0)


def show_to_parent() -> None:
    """A job must be visible to the worker that watches it; it forks from one that is not."""
    linux.prctl(_SET_DUMPABLE, 1)


def end_with_parent() -> None:
    linux.prctl(_PDEATHSIG, signal.SIGKILL)


def leave_files_behind(root: str = "/tmp") -> None:
    """A new root at an existing folder, then everything else is let go; for process 1."""
    linux.mount("none", "/", "", MountFlag.RECURSIVE | MountFlag.PRIVATE)
    linux.mount("tmpfs", root, "tmpfs", _NOSUID_NODEV, "size=1m,mode=755")
    _bind("/usr", root)
    for name in _SYSTEM_FOLDERS:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            _bind(f"/{name}", root)
    if not f"{sys.base_prefix}/".startswith("/usr/"):
        _bind(".", root, at=sys.base_prefix)
    _make_etc(root)
    _make_devices(root)
    for name in ("proc", "tmp"):
        os.mkdir(f"{root}/{name}")
    _mount_proc(f"{root}/proc")
    os.chdir(root)
    linux.pivot_root(".", ".")
    linux.unmount(".", MountFlag.DETACH)
    os.chdir("/")
    linux.make_read_only("/", recursive=False)
    linux.drop_bounding_set()


def _bind(source: str, root: str, *, at: str | None = None) -> None:
    target = root + (at or source)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        _write(target, "")
    linux.mount(source, target, "", MountFlag.BIND | MountFlag.RECURSIVE)
    linux.make_read_only(target, recursive=True)


def _make_etc(root: str) -> None:
    os.mkdir(f"{root}/etc")
    for name in _ETC:
        if os.path.exists(f"/etc/{name}"):
            _bind(f"/etc/{name}", root)
    _write(f"{root}/etc/passwd", f"job:x:{_INNER_UID}:{_INNER_UID}::/tmp:/bin/sh\n")
    _write(f"{root}/etc/group", f"job:x:{_INNER_UID}:\n")


def _make_devices(root: str) -> None:
    os.mkdir(f"{root}/dev")
    for name in _DEVICES:
        _write(f"{root}/dev/{name}", "")
        linux.mount(f"/dev/{name}", f"{root}/dev/{name}", "", MountFlag.BIND)
    os.symlink("/tmp", f"{root}/dev/shm")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{root}/dev/{name}")


def _mount_proc(target: str) -> None:
    flags = _NOSUID_NODEV | MountFlag.NOEXEC
    try:
        linux.mount("proc", target, "proc", flags, "subset=pid,hidepid=2")
    except OSError as error:
        raise OSError(error.errno, "a fresh /proc is refused; is /proc masked?") from error


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
