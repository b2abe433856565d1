"""Landlock: the kernel's list of the files that a process may access (landlock(7))."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from sandbox.inside.linux import call

__all__ = ["abi", "make_ruleset", "restrict_self"]

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ALL_OF_ABI_1 = (1 << 13) - 1
_LATER_RIGHTS = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # ABI -> REFER, TRUNCATE, IOCTL_DEV
_TCP_BIND_CONNECT = 3
_SCOPE_ABSTRACT_UNIX_SIGNAL = 3
_MAKE_DEVICES = (1 << 6) | (1 << 11)
_PATH_BENEATH = 1
_DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom")


def abi() -> int:
    """Return the kernel's Landlock version, 0 if it has none."""
    try:
        return call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def make_ruleset(*, read: Iterable[str | int], write: str) -> int:
    """Return a ruleset's descriptor; it closes all paths except those below the ones given.

    Args:
        read: directories and files to read and execute, by path or descriptor.
        write: a directory for everything except device files.
    """
    version = abi()
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
