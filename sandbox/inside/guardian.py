"""The process above a worker: when the worker ends, the guardian ends everything below it.

supervisor --SIGTERM--> guardian --SIGKILL--> worker (process 1 of its namespace, or a subreaper)
                            | waits, then kills and reaps the remaining processes
                            v exits: the supervisor's wait() returns when no process is left
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

from sandbox.inside import linux
from sandbox.inside.entering import end_with_parent
from sandbox.inside.scratch import remove_folder
from sandbox.inside.watch import descendants

__all__ = ["become_guarded", "kill_descendants"]

_SET_CHILD_SUBREAPER = 36


def become_guarded(folder: str | None = None) -> None:
    """Fork and return in the child; this process becomes its guardian and never returns.

    The guardian removes `folder` at its end.
    """
    linux.prctl(_SET_CHILD_SUBREAPER, 1)
    parent = os.getpid()
    worker = os.fork()
    if worker == 0:
        end_with_parent()
        if os.getppid() not in (0, parent):  # 0: the parent is outside this pid namespace
            os._exit(1)
        linux.prctl(_SET_CHILD_SUBREAPER, 1)
        return

    def kill(signum: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)

    signal.signal(signal.SIGTERM, kill)
    os.closerange(3, 1 << 16)
    os.waitpid(worker, 0)
    while True:
        kill_descendants()
        try:
            os.wait()
        except ChildProcessError:
            break
    if folder is not None:
        with suppress(OSError):
            remove_folder(folder)
    os._exit(0)


def kill_descendants() -> None:
    for pid in descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
