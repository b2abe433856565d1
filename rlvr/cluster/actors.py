"""Calls of Ray actors: each has a deadline, and errors name the actor and its log file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayError, RayTaskError

from rlvr.errors import ActorDied, RLVRError

__all__ = ["Actor"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A Ray actor with its name and its log file for error messages."""

    name: str
    handle: Any
    log_path: str

    async def call(self, method: str, *args: Any, deadline_s: float, **options: Any) -> Any:
        """Return the method's result; raise its RLVRError, or ActorDied for any other failure."""
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
        """End the actor's process at once."""
        import ray

        ray.kill(self.handle)

    async def _wait(self, ref: Awaitable[Any], method: str, deadline_s: float) -> Any:
        async def result() -> Any:
            return await ref

        try:
            return await asyncio.wait_for(result(), deadline_s)
        except TimeoutError:
            raise ActorDied(
                f"{self.name} did not finish {method} within {deadline_s:.0f} s; its log: "
                f"{self.log_path}"
            ) from None
        except RayError as error:
            raise self._translate(error, method) from error

    def _translate(self, error: RayError, method: str) -> RLVRError:
        if isinstance(error, RayTaskError):
            if isinstance(error.cause, RLVRError):
                return error.cause
            lines = str(error.cause).strip().splitlines()
            what = f"failed in {method}: {type(error.cause).__name__}: {lines[-1] if lines else ''}"
        elif isinstance(error, RayActorError):
            what = f"died in {method}"
        else:
            what = f"was lost in {method}: {type(error).__name__}"
        return ActorDied(f"{self.name} {what}; its log: {self.log_path}")


def _without_actor(_: object, function: Callable[..., ResultT], *args: Any) -> ResultT:
    return function(*args)
