"""An asyncio event loop whose clock jumps to the next timer when nothing else is ready.

Code that waits with asyncio (sleep, wait_for, events) runs as on an ordinary loop, but an hour of
waiting takes no time, and the machine's load has no effect on the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run_in_virtual_time"]

ResultT = TypeVar("ResultT")


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Nothing outside the loop may wake it: no threads, sockets or processes."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready and scheduled:
            self._now = max(self._now, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def run_in_virtual_time(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine to its end; `asyncio.get_running_loop().time()` is the virtual clock."""
    with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
        return runner.run(work)
