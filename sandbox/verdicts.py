"""The public data types: limits, verdicts, results."""

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
    """This machine lacks sufficient isolation or a tool; the text names what is missing."""


class Verdict(StrEnum):
    """The outcome of a program."""

    ACCEPTED = "accepted"  # without an expected output: exit code 0
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    COMPILE_ERROR = "compile_error"
    POLICY_VIOLATION = "policy_violation"  # it made a forbidden system call
    INTERNAL_ERROR = "internal_error"  # the sandbox failed, not the program; must not be scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one run.

    Raises:
        ValueError: a limit is not a finite number above 0, or a count is not a whole number.
    """

    wall_s: float = 13.0  # then it is late and killed; twice the CPU time plus 1 s
    grace_s: float = 1.0  # from then until it is dead at the latest
    cpu_s: float = 6.0  # CPU time of all its processes
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
    """The result of one run of a program."""

    verdict: Verdict
    reason: str = ""  # in words, if the verdict is not accepted
    stdout: bytes = b""  # at most Limits.output_bytes
    stderr: bytes = b""
    exit_code: int | None = None  # -n if signal n ended it; None: it did not run
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    files: dict[str, bytes] = field(default_factory=dict)  # those named in `collect` that exist
    frame: bytes = field(default=b"", repr=False)  # a function's value as the job encoded it

    @property
    def value(self) -> Any:
        """The function's return value.

        None if it did not return, or if the value was not accepted and has more than 16 KiB, since
        decoding it could be an attack.
        """
        if self.verdict is not Verdict.ACCEPTED and len(self.frame) > _READABLE_BYTES:
            return None
        try:
            return decode(read_frame(self.frame))
        except (ArithmeticError, RecursionError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The judgement of a program by its cases; accepted if all of them are."""

    verdict: Verdict  # of the first failed case
    reason: str = ""
    cases: tuple[RunResult, ...] = ()  # one per case that was run, in order


@dataclass(frozen=True, slots=True)
class Checker:
    """A program that decides whether an output is right; it runs in its own sandbox.

    Its arguments are three file names: the case's input, the program's output, the expected output
    (for functions as JSON of `sandbox.literals`). Exit code 0 accepts.
    """

    code: str
    language: str = "python"
