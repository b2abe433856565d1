"""System calls that Python does not wrap, through ctypes; each raises OSError if it is refused."""

from __future__ import annotations

import ctypes
import os
import struct

from sandbox.inside.syscalls import NUMBERS

__all__ = [
    "MountFlag",
    "call",
    "drop_bounding_set",
    "drop_capabilities",
    "fork",
    "install_filter",
    "make_read_only",
    "mount",
    "prctl",
    "unmount",
]

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None).fork  # PyDLL: without releasing the interpreter's lock
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPBSET_DROP = 24
_DETACH = 2


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
