"""What a run may use, what came of it, and the words for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from sandbox.literals import decode, read_frame

__all__ = ["Checker", "Judgement", "Limits", "RunResult", "SandboxUnavailable", "Verdict"]

_MIB = 1 << 20
_READABLE_BYTES = 1 << 14


class SandboxUnavailable(RuntimeError):
    """This machine offers no isolation that is good enough; the text says what is missing."""


class Verdict(StrEnum):
    """What came of a program."""

    ACCEPTED = "accepted"  # of a run without an expected output: exit code 0
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    COMPILE_ERROR = "compile_error"
    POLICY_VIOLATION = "policy_violation"  # it tried what it may not do
    INTERNAL_ERROR = "internal_error"  # ours, not the program's; never to be scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use; each limit is positive.

    Raises:
        ValueError: a limit that is not a finite number above 0, or not whole where it is a count.
    """

    wall_s: float = 13.0  # then it counts as late and is killed: twice the processor time and 1 s
    grace_s: float = 1.0  # more until it is dead, whatever holds it
    cpu_s: float = 6.0  # processor time of all its processes
    memory_bytes: int = 512 * _MIB  # of all its processes
    output_bytes: int = 1 * _MIB  # of each stream
    processes: int = 32  # and threads
    disk_bytes: int = 64 * _MIB
    inodes: int = 4096

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            is_count = spec.type == "int"
            is_number = isinstance(value, int if is_count else int | float)
            if not is_number or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
                kind = "whole number" if is_count else "number"
                raise ValueError(f"{spec.name} is {value!r}; it must be a finite {kind} above 0")
            if value >= 1 << 62:
                raise ValueError(f"{spec.name} is {value!r}; it must be below 2**62")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run of a program."""

    verdict: Verdict
    reason: str = ""  # in words, where the verdict is not accepted
    stdout: bytes = b""  # at most Limits.output_bytes
    stderr: bytes = b""
    exit_code: int | None = None  # minus the signal's number where one ended it; None: never ran
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    files: dict[str, bytes] = field(default_factory=dict)  # those named in `collect` that exist
    frame: bytes = field(default=b"", repr=False)  # a function's value as the job wrote it

    @property
    def value(self) -> Any:
        """What the function returned.

        None where it did not return, and where a value that was not accepted is so long (more than
        16 KiB) that to read it could be an attack on the reader.
        """
        if self.verdict is not Verdict.ACCEPTED and len(self.frame) > _READABLE_BYTES:
            return None
        try:
            return decode(read_frame(self.frame))
        except (ArithmeticError, RecursionError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A program held against its cases; accepted where there are cases and all are accepted."""

    verdict: Verdict  # else that of the first case that failed
    reason: str = ""
    cases: tuple[RunResult, ...] = ()  # of each case that was run, in the order given


@dataclass(frozen=True, slots=True)
class Checker:
    """A program that decides where many outputs are right; it runs in a sandbox of its own.

    It is called with three file names: the case's input, the program's output, the expected
    output (for functions each as JSON of `sandbox.literals`). Exit code 0 accepts.
    """

    code: str
    language: str = "python"
