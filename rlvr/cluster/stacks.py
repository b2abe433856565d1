"""Python stacks of the processes of a run, on demand, also of one that hangs.

    each process   answer_stack_requests: registers itself, and writes its stacks on SIGUSR1
                   logs/processes/NAME.json, NAME.stacks
    driver         collect_stacks: signals each of them and returns what they wrote

faulthandler writes the stacks from a signal handler in C, so the process need not be able to run
Python, to answer a call or to release a lock. The stack of a thread that runs Python at that moment
may be cut short. A process on another node is signalled by a Ray task
there.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rlvr.cluster.process_reaper import process_stat
from rlvr.cluster.signals import in_daemon_thread

__all__ = [
    "PROCESSES",
    "answer_stack_requests",
    "collect_stacks",
    "signal_and_read",
    "write_stacks_on_signal",
]

PROCESSES = "processes"  # folder, in that of the logs
WRITE_S = 2.0  # for a dump, which takes milliseconds
TICK_S = 0.1  # a file that has not grown for so long is complete
REMOTE_S = 30.0  # for a task on another node, which starts a process


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """A process that answers SIGUSR1 with its stacks."""

    pid: int
    started: str  # of /proc/PID/stat: the signal would kill another process that has its id now
    machine: str  # with the pid namespace
    node_id: str | None  # of Ray; None: it was not started by Ray


def write_stacks_on_signal(file: Path) -> None:
    """Append the stacks of all threads of this process to a file on SIGUSR1.

    A handler that Python has for the signal is called as well.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    has_handler = callable(signal.getsignal(signal.SIGUSR1))
    faulthandler.register(signal.SIGUSR1, file=descriptor, chain=has_handler)


def answer_stack_requests(log: Path) -> None:
    """Let the driver collect the stacks of this process, under the name of its log."""
    folder, name, pid = log.parent / PROCESSES, log.stem, os.getpid()
    write_stacks_on_signal(folder / f"{name}.stacks")
    ray = sys.modules.get("ray")
    is_actor = ray is not None and ray.is_initialized()
    process = _Process(
        pid=pid,
        started=_start_of(pid),
        machine=_machine(),
        node_id=ray.get_runtime_context().get_node_id() if ray and is_actor else None,
    )
    temporary = folder / f"{name}.tmp"
    temporary.write_text(json.dumps(asdict(process)), encoding="utf-8")
    temporary.replace(folder / f"{name}.json")


async def collect_stacks(logs: Path) -> dict[str, str]:
    """Return the stacks of each process that has registered itself, or why there are none."""
    files = sorted((logs.resolve() / PROCESSES).glob("*.json"))
    texts = await asyncio.gather(*map(_stacks_of, files))
    return {file.stem: text for file, text in zip(files, texts, strict=True)}


async def _stacks_of(file: Path) -> str:
    process = _Process(**json.loads(file.read_text(encoding="utf-8")))
    if process.machine == _machine() or process.node_id is None:
        return await in_daemon_thread(lambda: signal_and_read(file))
    try:
        return await asyncio.wait_for(_on_node(process.node_id, file), REMOTE_S)
    except TimeoutError:
        return f"its node, {process.machine}, did not answer within {REMOTE_S:.0f} s\n"


async def _on_node(node_id: str, file: Path) -> str:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(signal_and_read).options(num_cpus=0, scheduling_strategy=there)
    try:
        return await task.remote(file)
    except ray.exceptions.RayError as error:
        return f"no answer from its node: {type(error).__name__}\n"


def signal_and_read(file: Path) -> str:
    """Return the stacks of the process that has registered itself in `file` on this machine."""
    process = _Process(**json.loads(file.read_text(encoding="utf-8")))
    try:
        if process_stat(process.pid)[19] != process.started:
            raise ProcessLookupError
        stacks = file.with_suffix(".stacks")
        os.truncate(stacks, 0)
        os.kill(process.pid, signal.SIGUSR1)
        return _complete_text(stacks) or (
            f"process {process.pid} has written nothing within {WRITE_S:.0f} s; its state in "
            f"/proc/{process.pid}/stat: {process_stat(process.pid)[0]}\n"
        )
    except (FileNotFoundError, ProcessLookupError):
        return f"process {process.pid} has ended\n"


def _complete_text(file: Path) -> str:
    """Return the file once it has stopped growing; "" if nothing is written in time."""
    until, size = time.monotonic() + WRITE_S, 0
    while time.monotonic() < until:
        time.sleep(TICK_S)
        before, size = size, file.stat().st_size
        if size and size == before:
            break
    return file.read_text(encoding="utf-8", errors="replace")


def _start_of(pid: int) -> str:
    return process_stat(pid)[19]


def _machine() -> str:
    return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
