"""Stacks of all processes of a run and its requests under way, written to the run folder.

SIGUSR1 to the driver, or a call that misses its deadline --> runs/NAME/stacks/TIME/
    driver.txt          threads and asyncio tasks of the controller
    engine_0.txt ...    threads of each actor
    requests.txt        what engines and reward workers are asked to do
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rlvr.cluster.stacks import PROCESSES, collect_stacks, write_stacks_on_signal
from rlvr.run.run_folder import RunFolder

__all__ = ["Describes", "StackDump", "ignore_stack_requests"]

logger = logging.getLogger(__name__)


@runtime_checkable
class Describes(Protocol):
    """A pool that can tell what it is waiting for."""

    def describe(self) -> list[str]:
        """Return lines about the requests under way."""


class StackDump:
    """Writes the files; `sources` are asked for the requests where they can describe them."""

    def __init__(self, folder: RunFolder, *, note: Callable[[str], None]) -> None:
        """`note` prints the line that names the files."""
        self._folder = folder
        self._note = note
        self._writing: asyncio.Task[None] | None = None
        self.sources: Sequence[object] = ()

    async def write(self) -> None:
        """Write the files; whoever asks while they are written waits for the same ones."""
        await asyncio.shield(self._start())

    def _start(self) -> asyncio.Task[None]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return self._writing

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Write them on SIGUSR1 while the block runs; afterwards the signal does nothing.

        An event loop that hangs cannot write them: the stacks of the driver are in
        logs/processes/driver.stacks all the same.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._start)
        write_stacks_on_signal(self._folder.logs / PROCESSES / "driver.stacks")
        try:
            yield
        finally:
            faulthandler.unregister(signal.SIGUSR1)
            loop.remove_signal_handler(signal.SIGUSR1)
            ignore_stack_requests()

    async def _write(self) -> None:
        time = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
        folder = self._folder.path / "stacks" / time
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_driver(folder / "driver.txt")
            (folder / "requests.txt").write_text(self._requests(), encoding="utf-8")
            stacks = await collect_stacks(self._folder.logs)
            for name, text in stacks.items():
                (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        except OSError as error:
            self._note(f"{folder}: the stacks cannot be written: {error.strerror}")
        else:
            self._note(f"stacks of {len(stacks) + 1} processes and requests under way: {folder}")

    def _requests(self) -> str:
        described = [one.describe() for one in self.sources if isinstance(one, Describes)]
        return "".join(f"{line}\n" for lines in described for line in lines)


def ignore_stack_requests() -> None:
    """Let SIGUSR1 do nothing, where it would end this process."""
    signal.signal(signal.SIGUSR1, lambda number, frame: None)


def _write_driver(file: Path) -> None:
    """Write the stacks of this process: its threads, and its asyncio tasks."""
    current = asyncio.current_task()
    with file.open("w", encoding="utf-8") as text:
        for task in sorted(asyncio.all_tasks() - {current}, key=lambda task: task.get_name()):
            text.write(f"{task.get_name()} (most recent call last):\n")
            text.writelines(f"  {line}\n" for line in _awaited(task.get_coro()))
            text.write("\n")
        text.flush()
        faulthandler.dump_traceback(text)


def _awaited(coroutine: Any) -> Iterator[str]:
    """Return the places where a coroutine and all that it awaits in turn are suspended."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None:
            code = frame.f_code
            yield f'File "{code.co_filename}", line {frame.f_lineno} in {code.co_qualname}'
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
