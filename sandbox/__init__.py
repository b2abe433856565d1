"""The vocabulary of running untrusted programs: `Limits`, and what came of it: `Verdict`.

Standard library only. Running and judging programs comes on top of these words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum

__all__ = ["Limits", "SandboxUnavailable", "Verdict"]

_MIB = 1 << 20


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

    wall_s: float = 13.0  # then it counts as late: twice the processor time and a second
    grace_s: float = 1.0  # more until it is dead
    cpu_s: float = 6.0  # processor time of all its processes
    memory_bytes: int = 512 * _MIB
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
