"""The messages between a supervisor and its worker; both sides import this file.

supervisor --- JOB + descriptors [payload, stdin, stdout, stderr, result, ...] --> worker
           --- KILL (the job is to end now) -->
           <-- READY (JSON) or FAILED (text) once, at the start ---
           <-- DONE + descriptors of collected files ---

A message is one datagram of a SOCK_SEQPACKET pair. What a job is about (its code and its input)
is in descriptors that only the job reads: a worker forks job after job and so must hold nothing
that a later one could find in its memory.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Final

__all__ = [
    "FIRST_EXTRA_FD",
    "MAX_FDS",
    "MAX_MESSAGE_BYTES",
    "PHASE_RUNS",
    "PHASE_STARTED",
    "RESULT_FD",
    "Cause",
    "Done",
    "Job",
    "Kind",
]

MAX_MESSAGE_BYTES: Final = 65536
MAX_FDS: Final = 72
RESULT_FD: Final = 3  # in a job: where its driver writes the result
PHASE_STARTED: Final = b"s"  # every restriction is on; the program is being compiled
PHASE_RUNS: Final = b"r"
FIRST_EXTRA_FD: Final = 4  # in a job: the descriptors after the result's


class Kind(IntEnum):
    """The first byte of a message."""

    READY, FAILED, JOB, KILL, DONE = range(1, 6)


class Cause(IntEnum):
    """Why the worker ended a job."""

    NONE, ASKED, WALL, CPU, MEMORY, DISK, PROCESSES = range(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is told of a job; 0 stands for no limit."""

    wall_ms: int
    cpu_ms: int
    memory_bytes: int
    address_bytes: int
    processes: int
    disk_bytes: int
    inodes: int
    may_fork: bool
    collect: tuple[str, ...] = ()  # files to hand back, relative to the job's directory

    def pack(self) -> bytes:
        names = "\0".join(self.collect).encode("utf-8", "surrogateescape")
        return bytes([Kind.JOB]) + _JOB.pack(*_numbers(self), len(self.collect)) + names

    @classmethod
    def unpack(cls, message: bytes) -> Job:
        *numbers, may_fork, count = _JOB.unpack_from(message, 1)
        names = message[1 + _JOB.size :].decode("utf-8", "surrogateescape").split("\0")
        fields = zip(_NUMBER_FIELDS, numbers, strict=True)
        return cls(**dict(fields), may_fork=bool(may_fork), collect=tuple(names[:count]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a worker saw of a job; all its processes are dead."""

    wait_status: int  # of wait(2)
    cause: int
    num_phases: int  # 0: no job came to be; 1: its program was not compiled; 2: it ran
    wall_us: int
    cpu_us: int  # of all its processes
    peak_bytes: int
    num_collected: int  # descriptors in the order of Job.collect; the rest were not there
    collected: int  # bit i: Job.collect[i] is among them

    def pack(self) -> bytes:
        return bytes([Kind.DONE]) + _DONE.pack(*astuple(self))

    @classmethod
    def unpack(cls, message: bytes) -> Done:
        return cls(**dict(zip(cls.__slots__, _DONE.unpack_from(message, 1), strict=True)))


_NUMBER_FIELDS = (
    "wall_ms",
    "cpu_ms",
    "memory_bytes",
    "address_bytes",
    "processes",
    "disk_bytes",
    "inodes",
)
_JOB = struct.Struct("=7QBB")
_DONE = struct.Struct("=iBBQQQBQ")


def _numbers(job: Job) -> list[int]:
    return [*(getattr(job, name) for name in _NUMBER_FIELDS), job.may_fork]
