"""Calling Ray actors: every call has a deadline, and a dead actor is named together with its
log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError

from rlvr.errors import ActorDied, RLVRError

__all__ = ["Actor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A Ray actor with the name and the log file that an error message needs."""

    name: str
    handle: Any
    log_path: str

    async def call(self, method: str, *args: Any, deadline_s: float) -> Any:
        """The method's result.

        Raises:
            RLVRError: as the method raised it.
            ActorDied: where the actor died, failed otherwise, or did not answer in time.
        """
        return await self._wait(getattr(self.handle, method).remote(*args), method, deadline_s)

    async def stream(self, method: str, *args: Any, deadline_s: float) -> AsyncIterator[Any]:
        """What an async generator method yields; the deadline is that of each item."""
        refs = getattr(self.handle, method).options(num_returns="streaming").remote(*args)
        while True:
            try:
                ref = await asyncio.wait_for(anext(refs), deadline_s)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise self._too_late(method, deadline_s) from None
            except RayError as error:
                raise self._translate(error, method) from error
            yield await self._wait(ref, method, deadline_s)

    async def _wait(self, ref: Any, method: str, deadline_s: float) -> Any:
        async def result() -> Any:
            return await ref

        try:
            return await asyncio.wait_for(result(), deadline_s)
        except TimeoutError:
            raise self._too_late(method, deadline_s) from None
        except RayError as error:
            raise self._translate(error, method) from error

    def _too_late(self, method: str, deadline_s: float) -> ActorDied:
        return ActorDied(
            f"{self.name} did not finish {method} within {deadline_s:.0f} s; its log: "
            f"{self.log_path}"
        )

    def _translate(self, error: RayError, method: str) -> RLVRError:
        if isinstance(error, RayTaskError):
            cause = error.cause
            if isinstance(cause, RLVRError):
                return cause
            text = str(cause).strip().splitlines()
            why = f"{type(cause).__name__}: {text[-1] if text else ''}"
            return ActorDied(f"{self.name} failed in {method}: {why}; its log: {self.log_path}")
        if isinstance(error, RayActorError):
            return ActorDied(f"{self.name} died in {method}; its log: {self.log_path}")
        return ActorDied(
            f"{self.name} was lost in {method}: {type(error).__name__}; its log: {self.log_path}"
        )
