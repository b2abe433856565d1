"""Errors that the trainer raises; all of them picklable, because they cross Ray's process
borders.
"""

from __future__ import annotations

__all__ = [
    "ActorDied",
    "CheckError",
    "ConfigError",
    "RLVRError",
    "RunLocked",
    "Stopped",
    "one_line",
]


class RLVRError(Exception):
    """Base of all errors raised on purpose; its text is one line made for the user."""

    exit_status = 1


class ConfigError(RLVRError):
    """The user's input was wrong: the text says which key or file, which value, what is allowed,
    what to do.
    """

    exit_status = 2


class RunLocked(ConfigError):
    """A living process holds the run folder."""


class CheckError(RLVRError):
    """A self-check failed and the run cannot be trusted any further."""


class ActorDied(RLVRError):
    """A Ray actor died or missed its deadline; the text names it and its log file."""


class Stopped(RLVRError):
    """The user stopped the run; `step` is the last whole step, and it is in a checkpoint.

    None: the stage has no steps; what it has written stays.
    """

    def __init__(self, step: int | None) -> None:
        super().__init__(step)
        self.step = step


def one_line(text: object) -> str:
    """What another library says, as a part of a line of ours."""
    return " ".join(str(text).split())[:500]
