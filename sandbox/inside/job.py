"""From a fork of the worker to a job: descriptors, limits, no way back, then the program."""

from __future__ import annotations

import gc
import marshal
import os
import random
import resource
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

from sandbox.inside import landlock, linux
from sandbox.inside.driver import run_payload
from sandbox.inside.entering import PREFIX_FD, end_with_parent, show_to_parent
from sandbox.inside.protocol import PHASE_STARTED, Job
from sandbox.inside.scratch import Scratch
from sandbox.inside.seccomp import with_own_pid

__all__ = ["Isolation", "become_job"]

_MIB = 1 << 20
_STACK_BYTES = 64 * _MIB
_INTERPRETER_BYTES = 48 * _MIB  # data of the worker that a job starts with
_OPEN_FILES = 64  # each may be a socket with a buffer that nobody counts
_PHASE_FD = PREFIX_FD - 1
_ASIDE = PREFIX_FD + 1  # above every descriptor that a job is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What a worker puts on its jobs."""

    has_namespaces: bool
    has_own_user: bool  # no process but the worker's own counts against RLIMIT_NPROC
    filters: dict[bool, bytes]  # may_fork -> seccomp program; empty where there is no isolation


def become_job(
    job: Job, fds: list[int], phase: int, scratch: Scratch, isolation: Isolation
) -> NoReturn:
    """`fds`: payload, stdin, stdout, stderr, result and further ones; `phase`: see the driver."""
    try:
        os.setsid()
        payload = marshal.loads(_read_all(fds[0]))
        _close_files(scratch, isolation)
        _place(fds[1:], phase)
        _set_limits(job, isolation)
        os.chdir(scratch.path)
        for name, content in payload.get("files", {}).items():
            _write_file(name, content)
        _prepare_interpreter(payload)
        if isolation.filters:
            linux.restrict_calls(with_own_pid(isolation.filters[job.may_fork], os.getpid()))
    except BaseException as error:  # ours: the supervisor is to see that no job was there
        os._exit(_not_started(error))
    os.write(_PHASE_FD, PHASE_STARTED)
    run_payload(payload, _PHASE_FD)


def _not_started(error: BaseException) -> int:
    os.write(2, f"the sandbox could not start the job: {error!r}".encode())
    return 1


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _place(fds: list[int], phase: int) -> None:
    """stdin, stdout, stderr, result, ... become 0, 1, 2, 3, ...; nothing else stays open."""
    os.dup2(phase, _PHASE_FD, inheritable=False)
    for number, fd in enumerate(fds):
        os.dup2(fd, _ASIDE + number)
    for number in range(len(fds)):
        os.dup2(_ASIDE + number, number)
    linux.call("close_range", len(fds), _PHASE_FD - 1, 0)
    linux.call("close_range", _ASIDE, 0xFFFFFFFF, 0)


def _set_limits(job: Job, isolation: Isolation) -> None:
    cpu_s = -(-job.cpu_ms // 1000) + 1  # the worker looks more closely than in whole seconds
    limits = {
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 1,  # 0 would still feed a program that collects them (core(5))
        resource.RLIMIT_FSIZE: job.disk_bytes,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_STACK: _STACK_BYTES,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_DATA: job.memory_bytes + _INTERPRETER_BYTES,
    }
    if job.address_bytes:
        limits[resource.RLIMIT_AS] = job.address_bytes
    if isolation.has_own_user:
        limits[resource.RLIMIT_NPROC] = job.processes + 1  # the worker is one
    for name, value in limits.items():
        resource.setrlimit(name, (value, value))


def _write_file(name: str, content: bytes) -> None:
    if "/" in name:
        os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(content)


def _prepare_interpreter(payload: dict[str, Any]) -> None:
    if payload["mode"] == "exec":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, os.getcwd())
    random.seed()  # else each job would draw the same numbers
    gc.enable()


def _close_files(scratch: Scratch, isolation: Isolation) -> None:
    """Capabilities and everything outside the scratch directory are out of reach from here on."""
    end_with_parent()
    if isolation.has_namespaces:
        linux.drop_capabilities()
    show_to_parent()
    with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
        file.write("1000")  # where memory runs out, the kernel is to take the job
    linux.no_new_privileges()
    if scratch.ruleset is not None:
        landlock.restrict_self(scratch.ruleset)
