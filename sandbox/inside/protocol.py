"""The messages between a supervisor and its worker; both sides import this module.

supervisor --- JOB + descriptors [payload, stdin, stdout, stderr, result, ...] --> worker
           --- KILL (end the running job now) -->
           <-- READY (JSON) or FAILED (text), once at the start ---
           <-- DONE + descriptors of the collected files ---

A message is one datagram of a SOCK_SEQPACKET pair. The code and the input of a job are in
descriptors that only the job reads: a worker forks job after job, so its memory must not hold
anything that a later job could find.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Final

__all__ = [
    "FIRST_EXTRA_FD",
    "PHASE_RUNS",
    "PHASE_STARTED",
    "RESULT_FD",
    "Cause",
    "Done",
    "Job",
    "Kind",
    "receive",
]

_MAX_MESSAGE_BYTES, _MAX_FDS = 65536, 72
RESULT_FD: Final = 3  # in a job: where its driver writes the result
FIRST_EXTRA_FD: Final = 4  # in a job: the descriptors after the result's
PHASE_STARTED: Final = b"s"  # every restriction is on; the program is being compiled
PHASE_RUNS: Final = b"r"
_JOB = struct.Struct("=7Q?B")
_DONE = struct.Struct("=iBBQQQQ")


class Kind(IntEnum):
    """The first byte of a message."""

    READY, FAILED, JOB, KILL, DONE = range(1, 6)


class Cause(IntEnum):
    """Why the worker ended a job."""

    NONE, ASKED, WALL, CPU, MEMORY, DISK, PROCESSES = range(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The limits of a job and the files to collect after it."""

    wall_ms: int
    cpu_ms: int
    memory_bytes: int
    address_bytes: int  # 0: unlimited
    processes: int
    disk_bytes: int
    inodes: int
    may_fork: bool
    collect: tuple[str, ...] = ()  # relative to the job's directory

    def pack(self) -> bytes:
        *limits, collect = astuple(self)
        names = "\0".join(collect).encode("utf-8", "surrogateescape")
        return bytes([Kind.JOB]) + _JOB.pack(*limits, len(collect)) + names

    @classmethod
    def unpack(cls, message: bytes) -> Job:
        *limits, count = _JOB.unpack_from(message, 1)
        names = message[1 + _JOB.size :].decode("utf-8", "surrogateescape").split("\0")
        return cls(**dict(zip(cls.__slots__, limits, strict=False)), collect=tuple(names[:count]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The worker's report on a job whose processes are all dead."""

    wait_status: int  # of wait(2)
    cause: int
    num_phases: int  # 0: the job did not start; 1: its program did not compile; 2: it ran
    wall_us: int
    cpu_us: int  # of all its processes
    peak_bytes: int
    collected: int  # bit i is set if a descriptor of Job.collect[i] is attached

    def pack(self) -> bytes:
        return bytes([Kind.DONE]) + _DONE.pack(*astuple(self))

    @classmethod
    def unpack(cls, message: bytes) -> Done:
        return cls(**dict(zip(cls.__slots__, _DONE.unpack_from(message, 1), strict=True)))


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Return a message and its descriptors; the message is empty if the peer has closed."""
    message, fds, _, _ = socket.recv_fds(channel, _MAX_MESSAGE_BYTES, _MAX_FDS)
    return message, fds
