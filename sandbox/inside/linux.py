"""System calls that Python does not wrap, through ctypes; each raises OSError if it is refused.

Landlock is the kernel's list of the files that a process may access (landlock(7)).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from sandbox.inside.syscalls import NUMBERS

__all__ = [
    "MountFlag",
    "call",
    "drop_bounding_set",
    "drop_capabilities",
    "fork",
    "install_filter",
    "landlock_abi",
    "make_read_only",
    "make_ruleset",
    "mount",
    "prctl",
    "restrict_self",
    "unmount",
]

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None).fork  # PyDLL: without releasing the interpreter's lock
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPBSET_DROP = 24
_DETACH = 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ALL_OF_ABI_1 = (1 << 13) - 1
_LATER_RIGHTS = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # ABI -> REFER, TRUNCATE, IOCTL_DEV
_TCP_BIND_CONNECT = 3
_SCOPE_ABSTRACT_UNIX_SIGNAL = 3
_MAKE_DEVICES = (1 << 6) | (1 << 11)
_PATH_BENEATH = 1
_DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom")


class MountFlag:
    """Flags of mount(2)."""

    NOSUID, NODEV, NOEXEC, NOATIME = 2, 4, 8, 1024
    BIND, RECURSIVE, PRIVATE = 4096, 16384, 1 << 18


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a raw system call; integers are passed as 64 bits."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_syscall(ctypes.c_long(NUMBERS[name]), *passed))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def fork() -> int:
    """Call fork(2) alone, for a process with one thread.

    `os.fork` also resets Python's locks in the child, which touches 180 more pages (0.5 ms) and
    which no worker needs. `random` must be seeded by hand.
    """
    return int(_fork())


def prctl(option: int, value: int = 0) -> int:
    return call("prctl", option, value, 0, 0, 0)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    call("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode() or None)


def unmount(target: str) -> None:
    """Detach a mount, even a busy one."""
    call("umount2", target.encode(), _DETACH)


def make_read_only(path: str, *, recursive: bool) -> None:
    """Make a mount (and all below it) read-only, without set-uid programs or device files."""
    attributes = struct.pack("=QQQQ", 0x1 | 0x2 | 0x4, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    call("mount_setattr", _AT_FDCWD, path.encode(), flags, attributes, len(attributes))


def drop_capabilities() -> None:
    """Drop the capabilities that a process has at first in a user namespace that it owns."""
    header = struct.pack("=Ii", 0x20080522, 0)
    call("capset", header, bytes(24))


def drop_bounding_set() -> None:
    """Keep programs that are executed later from gaining a capability."""
    for capability in range(64):
        try:
            prctl(_CAPBSET_DROP, capability)
        except OSError:  # past the kernel's last one
            return


def install_filter(program: bytes) -> None:
    """Install a seccomp filter on this process and its descendants, for good."""
    instructions = ctypes.create_string_buffer(program, len(program))
    address = ctypes.addressof(instructions)
    call("seccomp", 1, 0, struct.pack("HxxxxxxP", len(program) // 8, address))


def landlock_abi() -> int:
    """Return the kernel's Landlock version, 0 if it has none."""
    try:
        return call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def make_ruleset(*, read: Iterable[str | int], write: str) -> int:
    """Return a ruleset: `read` (paths, descriptors) to read and execute, everything in `write`."""
    version = landlock_abi()
    later = [right for since, right in _LATER_RIGHTS.items() if version >= since]
    handled = _ALL_OF_ABI_1 | sum(later)
    network = _TCP_BIND_CONNECT if version >= 4 else 0
    scoped = _SCOPE_ABSTRACT_UNIX_SIGNAL if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, network, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = call("landlock_create_ruleset", attributes, size, 0)
    for path in read:
        read_file = _EXECUTE | _READ_FILE
        _allow(ruleset, path, read_file | _READ_DIR if os.path.isdir(path) else read_file)
    _allow(ruleset, write, handled & ~_MAKE_DEVICES)
    for device in _DEVICES:
        _allow(ruleset, device, _READ_FILE | _WRITE_FILE)
    return ruleset


def restrict_self(ruleset: int) -> None:
    call("landlock_restrict_self", ruleset, 0)


def _allow(ruleset: int, path: str | int, rights: int) -> None:
    """Add a rule for a path or a descriptor; a missing path is left out."""
    try:
        fd = os.dup(path) if isinstance(path, int) else os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, fd), 12)
    try:
        call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)
