"""Calls of Ray actors: each has a deadline, and errors name the actor and its log file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from rlvr.errors import ActorDied, ActorFailed, RLVRError

__all__ = ["Actor", "nothing"]

ResultT = TypeVar("ResultT")


async def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A Ray actor with its name and its log file for error messages.

    Every method raises the RLVRError that the actor raised; ActorFailed for any other exception;
    ActorDied if it died, was lost or missed the deadline.
    """

    name: str
    handle: Any
    log_path: str
    on_late: Callable[[], Awaitable[None]] = nothing  # awaited when a call misses its deadline

    async def call(self, method: str, *args: Any, deadline_s: float, **options: Any) -> Any:
        """Return the method's result."""
        ref = getattr(self.handle, method).remote(*args, **options)
        return await self._wait(ref, method, deadline_s)

    async def run(self, function: Callable[..., ResultT], *args: Any, deadline_s: float) -> ResultT:
        """Call a function of a module in the actor's process and return its result."""
        result: ResultT = await self.call(
            "__ray_call__", _without_actor, function, *args, deadline_s=deadline_s
        )
        return result

    def notify(self, method: str, *args: Any) -> None:
        """Call a method and wait for nothing."""
        getattr(self.handle, method).remote(*args)

    def kill(self) -> None:
        """End the process at once, also one that hangs or is dead already."""
        ray.kill(self.handle)

    async def _wait(self, ref: Awaitable[Any], method: str, deadline_s: float) -> Any:
        async def result() -> Any:
            return await ref

        try:
            return await asyncio.wait_for(result(), deadline_s)
        except TimeoutError:
            await self.on_late()
            raise ActorDied(
                f"{self.name} did not finish {method} within {deadline_s:.0f} s; its log: "
                f"{self.log_path}"
            ) from None
        except RayError as error:
            raise self._translate(error, method) from error

    def _translate(self, error: RayError, method: str) -> RLVRError:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, RLVRError):
            return cause
        where = f"its log: {self.log_path}"
        if not isinstance(cause, RayError):
            what = f"{type(cause).__name__}: {_last_line(cause)}"
            return ActorFailed(f"{self.name} failed in {method}: {what}; {where}")
        if not isinstance(cause, RayActorError):
            return ActorDied(f"{self.name} was lost in {method}: {type(cause).__name__}; {where}")
        if cause.actor_init_failed:
            return ActorFailed(f"{self.name} failed in its start: {_last_line(cause)}; {where}")
        return ActorDied(f"{self.name} died in {method}; {where}")


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else ""


def _without_actor(_: object, function: Callable[..., ResultT], *args: Any) -> ResultT:
    return function(*args)
