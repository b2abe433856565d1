"""A run that resumes by itself after one of its processes has died.

attempt --ActorDied--> everything of it is ended --> attempt, from the latest checkpoint, ...
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from rlvr.errors import ActorDied, ActorFailed

__all__ = ["resuming"]

logger = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


def resuming(
    attempt: Callable[[int], ResultT],
    *,
    max_restarts: int,
    progress: Callable[[], str],
    note: Callable[[str], None],
) -> ResultT:
    """Return the result of the first attempt in which no process dies.

    attempt: gets the number of restarts so far, and has ended all of its processes when it raises.
    progress: what the next attempt starts from, e.g. "step 40". note: prints a line.

    Raises ActorDied: a process died after `max_restarts` restarts; ActorFailed: one raised an
    exception, as it would again.
    """
    for num_restarts in count():
        try:
            return attempt(num_restarts)
        except ActorFailed:
            raise
        except ActorDied as died:
            if num_restarts == max_restarts:
                raise _at_the_limit(died, max_restarts, progress()) from died
            line = (
                f"{died}; resuming from {progress()}, restart {num_restarts + 1} of {max_restarts} "
                "(resources.max_restarts)"
            )
            logger.warning(line)
            note(line)
    raise AssertionError


def _at_the_limit(died: ActorDied, max_restarts: int, progress: str) -> ActorDied:
    done = f"after {max_restarts} restarts" if max_restarts else "no restarts are allowed"
    return ActorDied(
        f"{died}; {done} (resources.max_restarts); the same command resumes from {progress}"
    )
