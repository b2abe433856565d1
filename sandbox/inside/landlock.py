"""Landlock: which files a process may touch, by the kernel's own list (landlock(7))."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from sandbox.inside.linux import call

__all__ = ["abi", "make_ruleset", "restrict_self"]

_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_WRITE_FILE = 1 << 1
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ALL_OF_ABI_1 = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_TCP_BIND_CONNECT = 3
_SCOPE_ABSTRACT_UNIX_SIGNAL = 3
_MAKE_DEVICES = (1 << 6) | (1 << 11)
_PATH_BENEATH = 1


def abi() -> int:
    """The kernel's version of Landlock, 0 where it has none."""
    try:
        return call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def make_ruleset(*, read: Iterable[int], write: Iterable[int], devices: Iterable[int]) -> int:
    """A ruleset's descriptor; all paths but those beneath the given descriptors are closed.

    `read`: directories and files to read and execute; `write`: directories for anything but device
    files; `devices`: files to read and write.
    """
    version = abi()
    handled = _handled_rights(version)
    network = _TCP_BIND_CONNECT if version >= 4 else 0
    scoped = _SCOPE_ABSTRACT_UNIX_SIGNAL if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, network, scoped)
    ruleset = call("landlock_create_ruleset", attributes, _attribute_size(version), 0)
    for fd in read:
        _allow(ruleset, fd, _READ if os.path.isdir(fd) else _EXECUTE | _READ_FILE)
    for fd in write:
        _allow(ruleset, fd, handled & ~_MAKE_DEVICES)
    for fd in devices:
        _allow(ruleset, fd, _READ_FILE | _WRITE_FILE)
    return ruleset


def restrict_self(ruleset: int) -> None:
    call("landlock_restrict_self", ruleset, 0)


def _handled_rights(version: int) -> int:
    rights = _ALL_OF_ABI_1
    rights |= _REFER if version >= 2 else 0
    rights |= _TRUNCATE if version >= 3 else 0
    return rights | (_IOCTL_DEV if version >= 5 else 0)


def _attribute_size(version: int) -> int:
    return 24 if version >= 6 else 16 if version >= 4 else 8


def _allow(ruleset: int, fd: int, rights: int) -> None:
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, fd), 12)
    call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
