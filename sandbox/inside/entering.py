"""Enter the isolation of a worker, once: an unprivileged user, then namespaces with their own root.

root caller --> unprivileged user --> user, pid, mount, ipc, net, uts, cgroup namespaces
                                  --> a read-only root of /usr and the interpreter, and a /proc

The worker is process 1 of its pid namespace and the only one that holds capabilities there.
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
    "change_root",
    "end_with_parent",
    "enter_namespaces",
    "keep_interpreter",
    "set_dumpable",
]

PREFIX_FD = 99  # in a job: the interpreter's folder, if the job's user cannot reach its path
_NAMESPACES = 0x10000000 | 0x20000000 | 0x20000 | 0x8000000 | 0x40000000 | 0x4000000 | 0x2000000
_PDEATHSIG, _SET_DUMPABLE = 1, 4
_FIRST_UID = 0x5A000000  # far from any existing user
_NOBODY = 65534
_INNER_UID = 1000
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEVICES = ("full", "null", "random", "urandom")
_NOSUID_NODEV = MountFlag.NOSUID | MountFlag.NODEV


def become_unprivileged(folder: str) -> bool:
    """Give up root for a user of this worker, who becomes the owner of `folder`.

    The kernel exempts user 0 from limits and permissions. True if no other process has the user.
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
            set_dumpable(True)  # otherwise /proc/self belongs to root
            return uid != _NOBODY
    raise PermissionError("root here may not change its user (CAP_SETUID and CAP_SETGID)")


def keep_interpreter(prefix: int) -> None:
    """Import modules through the descriptor `prefix` if the user cannot reach their path."""
    if os.access(os.__file__, os.R_OK):
        return
    os.dup2(prefix, PREFIX_FD, inheritable=False)
    packages = [module.__path__ for module in sys.modules.values() if hasattr(module, "__path__")]
    for paths in (sys.path, *packages):
        by_fd = f"/proc/self/fd/{PREFIX_FD}"
        paths[:] = [path.replace(sys.base_prefix, by_fd, 1) for path in paths]
    sys.path_importer_cache.clear()


def enter_namespaces(prefix: int) -> None:
    """Enter all namespaces; the next child is the first process of the pid namespace."""
    os.fchdir(prefix)  # the user may reach "." where it may not reach the folders above
    uid, gid = os.getuid(), os.getgid()
    linux.call("unshare", _NAMESPACES)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_INNER_UID} {uid} 1")
    _write("/proc/self/gid_map", f"{_INNER_UID} {gid} 1")


def set_dumpable(is_dumpable: bool) -> None:
    """Allow or forbid other processes of this user to inspect this process."""
    linux.prctl(_SET_DUMPABLE, int(is_dumpable))


def end_with_parent() -> None:
    linux.prctl(_PDEATHSIG, signal.SIGKILL)


def change_root(root: str = "/tmp") -> None:
    """Build a new root at an existing folder and detach the old one; for process 1."""
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
    for name in ("etc", "dev", "proc", "tmp"):
        os.mkdir(f"{root}/{name}")
    for name in ("/etc/alternatives", "/etc/ld.so.cache"):
        if os.path.exists(name):
            _bind(name, root)
    _write(f"{root}/etc/passwd", f"job:x:{_INNER_UID}:{_INNER_UID}::/tmp:/bin/sh\n")
    _write(f"{root}/etc/group", f"job:x:{_INNER_UID}:\n")
    _fill_dev(f"{root}/dev")
    try:
        flags = _NOSUID_NODEV | MountFlag.NOEXEC
        linux.mount("proc", f"{root}/proc", "proc", flags, "subset=pid,hidepid=2")
    except OSError as error:
        raise OSError(error.errno, "a fresh /proc is refused; is /proc masked?") from error
    os.chdir(root)
    linux.call("pivot_root", b".", b".")
    linux.unmount(".")
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


def _fill_dev(folder: str) -> None:
    for name in _DEVICES:
        _write(f"{folder}/{name}", "")
        linux.mount(f"/dev/{name}", f"{folder}/{name}", "", MountFlag.BIND)
    os.symlink("/tmp", f"{folder}/shm")
    os.symlink("/proc/self/fd", f"{folder}/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{folder}/{name}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
