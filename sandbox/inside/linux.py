"""System calls that Python does not wrap, by ctypes; each raises OSError where it is refused."""

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
    "make_read_only",
    "mount",
    "no_new_privileges",
    "pivot_root",
    "prctl",
    "restrict_calls",
    "unmount",
    "unshare",
]

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None).fork  # PyDLL: without letting go of the interpreter's lock
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SET_NO_NEW_PRIVS, _CAPBSET_DROP, _CAP_AMBIENT = 38, 24, 47


class MountFlag:
    """Of mount(2) and umount2(2)."""

    NOSUID, NODEV, NOEXEC, NOATIME = 2, 4, 8, 1024
    BIND, RECURSIVE, PRIVATE = 4096, 16384, 1 << 18
    DETACH = 2


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A raw system call; integers are passed as 64 bits."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_syscall(ctypes.c_long(NUMBERS[name]), *passed))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def fork() -> int:
    """fork(2) alone, for a process with one thread.

    What `os.fork` does to Python's locks in the child would touch 180 pages more (0.5 ms), and
    nothing in a worker needs it; `random` must be seeded by hand.
    """
    return int(_fork())


def prctl(option: int, value: int = 0) -> int:
    return call("prctl", option, value, 0, 0, 0)


def unshare(flags: int) -> None:
    call("unshare", flags)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    call("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode() or None)


def unmount(target: str, flags: int = 0) -> None:
    call("umount2", target.encode(), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    call("pivot_root", new_root.encode(), put_old.encode())


def make_read_only(path: str, *, recursive: bool) -> None:
    """A mount (and all below it): read-only, without set-uid programs or device files."""
    attributes = struct.pack("=QQQQ", 0x1 | 0x2 | 0x4, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    call("mount_setattr", _AT_FDCWD, path.encode(), flags, attributes, len(attributes))


def drop_capabilities() -> None:
    """Of this process; in a user namespace that a process owns it holds all of them at first."""
    header = struct.pack("=Ii", 0x20080522, 0)
    call("capset", header, bytes(24))


def drop_bounding_set() -> None:
    """So that no program that is executed later can gain a capability."""
    for capability in range(64):
        try:
            prctl(_CAPBSET_DROP, capability)
        except OSError:  # the kernel knows no more of them
            return


def no_new_privileges() -> None:
    prctl(_SET_NO_NEW_PRIVS, 1)


def restrict_calls(program: bytes) -> None:
    """Install a seccomp filter on this process and its descendants; it cannot be taken off."""
    instructions = ctypes.create_string_buffer(program, len(program))
    address = ctypes.addressof(instructions)
    call("seccomp", 1, 0, struct.pack("HxxxxxxP", len(program) // 8, address))
