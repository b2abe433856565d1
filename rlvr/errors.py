"""Errors of the trainer. All are picklable, since they cross Ray's process boundaries."""

from __future__ import annotations

__all__ = [
    "ActorDied",
    "ActorFailed",
    "CheckError",
    "ConfigError",
    "RLVRError",
    "RunLocked",
    "Stopped",
    "one_line",
]


class RLVRError(Exception):
    """Base of all errors raised on purpose; the message is one line for the user."""

    exit_status = 1


class ConfigError(RLVRError):
    """Wrong user input; the message names the key or file, the value and what is allowed."""

    exit_status = 2


class RunLocked(ConfigError):
    """A running process holds the run folder."""


class CheckError(RLVRError):
    """A self-check failed, so the run cannot be trusted."""


class ActorDied(RLVRError):
    """A process of the run died or missed its deadline; the message names it and its log file."""


class ActorFailed(ActorDied):
    """A Ray actor raised an exception, or died each time it did the same: it would do so again."""


class Stopped(RLVRError):
    """The user stopped the run.

    `step` is the last completed step, saved in a checkpoint; None for a stage without steps.
    """

    def __init__(self, step: int | None) -> None:
        super().__init__(step)
        self.step = step


def one_line(text: object) -> str:
    """Return another library's message as one line of at most 500 characters."""
    return " ".join(str(text).split())[:500]
