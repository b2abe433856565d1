"""The process that forks the workers, and the loop of a worker. Imported only in the child process.

    parent ---control socket---> fork server (imports the job once; never runs it)
       \\----socket per worker--> worker, forked in 4 ms (one job at a time; may be killed)

The fork server ends with its parent: the control socket closes or, where another fork of the parent
keeps it open, the parent process id changes. A worker dies with the fork server (PR_SET_PDEATHSIG;
it follows the forking thread, which is the fork server's only one).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_PARENT_CHECK_S = 1.0
_RECURSION_LIMIT = 2000
_JOB_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError),
    *(SyntaxError, TypeError, ValueError),
)


def main(control_fd: int, parent_pid: int, job_path: str, memory_bytes: int) -> None:
    """Serve until the parent ends: `F` and a file descriptor (fork), `K` and a pid (kill)."""
    control = socket.socket(fileno=control_fd)
    try:
        module, _, name = job_path.partition(":")
        job: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        control.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
        return
    control.sendall(b"{}\n")
    gc.freeze()
    workers: set[int] = set()
    while os.getppid() == parent_pid:
        for pid in tuple(workers):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                workers.discard(pid)
        if not select.select([control], [], [], _PARENT_CHECK_S)[0]:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            break
        if message[:1] == b"F":
            pid = _fork_worker(control, descriptors[0], job, memory_bytes)
            workers.add(pid)
            control.sendall(b"%d\n" % pid)
        else:
            _kill(int(message[1:]), workers)
            control.sendall(b"\n")
    for pid in tuple(workers):
        _kill(pid, workers)


def _fork_worker(
    control: socket.socket, descriptor: int, job: Callable[[Any], Any], memory_bytes: int
) -> int:
    fork_server_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            control.close()
            _work(socket.socket(fileno=descriptor), fork_server_pid, job, memory_bytes)
        finally:
            os._exit(1)
    os.close(descriptor)
    return pid


def _work(
    requests: socket.socket, fork_server_pid: int, job: Callable[[Any], Any], memory_bytes: int
) -> None:
    """Answer one JSON line per job until the socket closes or the job kills the process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != fork_server_pid:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses limits on address space
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    sys.setrecursionlimit(_RECURSION_LIMIT)
    lines = requests.makefile("rb")
    requests.sendall(b"{}\n")
    for line in lines:
        requests.sendall(json.dumps(_reply(job, line)).encode() + b"\n")


def _reply(job: Callable[[Any], Any], line: bytes) -> dict[str, Any]:
    try:
        return {"value": job(json.loads(line))}
    except _JOB_ERRORS as error:  # the text is hostile; the parent treats this as a death
        return {"error": type(error).__name__}


def _kill(pid: int, workers: set[int]) -> None:
    """Kill a worker that is not reaped yet, so that its pid cannot belong to another process."""
    if pid in workers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        workers.discard(pid)
