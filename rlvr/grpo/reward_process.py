"""The rewards of a run in a child process of the driver, before any actor starts.

    driver --(names, Ungraded)--> child (RewardWorker) --results, or what went wrong--> driver

A user's function may raise, hang or end its process: each becomes one line, and what it printed is
in the log.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rewards import RewardResult
from rewards.base import load_reward
from rlvr.cluster.processes import actor_env
from rlvr.errors import one_line
from rlvr.grpo.graders import RewardWorker
from rlvr.types import Ungraded

__all__ = ["RewardFailed", "RewardProcess", "serve"]

PR_SET_PDEATHSIG = 1
END_S = 2.0  # for its own child processes to end
BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from rlvr.grpo.reward_process import serve
serve(int(sys.argv[2]))
"""


class RewardFailed(Exception):
    """A reward raised, returned what no reward may return, or ended its process."""


class RewardProcess:
    """Grades in one child process, which starts at once and again after it was killed.

    rewards: arguments of a RewardMix. log: file for the output of the process.
    """

    def __init__(
        self, rewards: Mapping[str, Mapping[str, Any]], *, log: Path, min_tier: str = "landlock"
    ) -> None:
        self.log = log
        self._start_values = (dict(rewards), str(log.resolve()), min_tier)
        self._start()

    def __enter__(self) -> RewardProcess:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._connection.close()  # it ends by itself where it waits for completions
        if kind is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=END_S)
        self._kill()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def grade(
        self, names: Sequence[str], ungraded: Ungraded, *, deadline_s: float
    ) -> list[RewardResult]:
        """Return one result for each completion, by these rewards alone.

        Raises RewardFailed: with the reason; TimeoutError: no result within the deadline.
        """
        if self._process.poll() is not None:
            self._start()
        try:
            self._connection.send((tuple(names), ungraded))
            if not self._connection.poll(deadline_s):
                self._kill()
                raise TimeoutError
            results, failure = self._connection.recv()
        except (EOFError, ConnectionError):
            self._kill()
            status = self._process.returncode
            raise RewardFailed(
                f"reward {', '.join(map(repr, names))} ended its process (status {status})"
            ) from None
        if failure is not None:
            raise RewardFailed(failure)
        return list(results)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        path = json.dumps([entry or os.getcwd() for entry in sys.path])
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, path, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    **actor_env(num_threads=1, is_cpu=True),
                    "PYTHONUNBUFFERED": "1",
                },
                start_new_session=True,  # Ctrl-C is for the driver
            )
        self._connection = Connection(ours.detach())
        self._connection.send(self._start_values)

    def _kill(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


def serve(descriptor: int) -> None:
    """Grade until the driver ends; runs in the child process only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    connection = Connection(descriptor)
    rewards, log, min_tier = connection.recv()
    workers: dict[tuple[str, ...], RewardWorker] = {}
    with suppress(EOFError, ConnectionError):
        while True:
            names, ungraded = connection.recv()
            results, failure = None, None
            try:
                if names not in workers:
                    specs = {name: rewards[name] for name in names}
                    workers[names] = RewardWorker(specs, log, min_tier)
                results = workers[names].grade(ungraded)
            except (Exception, SystemExit) as error:  # a user's code may raise anything
                traceback.print_exc()
                sys.stderr.flush()
                failure = _described(error, names)
            connection.send((results, failure))
    for worker in workers.values():
        worker.close()


def _described(error: BaseException, names: Sequence[str]) -> str:
    """Return the reward, the error, and file and line of the user's code."""
    name = next((name for name in names if ":" in name), names[0])
    file, line = _definition(name)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if file and frame.filename == file]
    text = one_line(error)
    if lines or not isinstance(error, ValueError):
        kind = type(error).__name__
        text = f"reward {name!r} failed with {kind}{': ' if text else ''}{text}"
    return f"{text} ({file}:{lines[-1] if lines else line})" if file else text


def _definition(name: str) -> tuple[str | None, int]:
    """Return file and line where a user's function is defined; no file for other rewards."""
    if ":" not in name:
        return None, 0
    function = inspect.unwrap(load_reward(name).function)
    try:
        return inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    except (TypeError, OSError):  # a callable object, or code without a file
        return None, 0
