"""Turn a fork of the worker into a job: descriptors, limits, restrictions, then the program."""

from __future__ import annotations

import gc
import marshal
import os
import random
import resource
import signal
import sys
from dataclasses import dataclass
from typing import NoReturn

from sandbox.inside import linux
from sandbox.inside.driver import run_payload
from sandbox.inside.entering import PREFIX_FD, end_with_parent, set_dumpable
from sandbox.inside.protocol import PHASE_STARTED, Job
from sandbox.inside.scratch import Scratch
from sandbox.inside.seccomp import with_own_pid

__all__ = ["Isolation", "become_job"]

_MIB = 1 << 20
_STACK_BYTES = 64 * _MIB
_INTERPRETER_BYTES = 48 * _MIB  # data of the worker that a job starts with
_OPEN_FILES = 64  # each may be a socket with an uncounted buffer
_PHASE_FD = PREFIX_FD - 1
_SPARE_FD = PREFIX_FD + 1  # above every descriptor of a job
_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """The restrictions that a worker imposes on its jobs."""

    has_namespaces: bool
    has_own_user: bool  # only the worker's own processes count against RLIMIT_NPROC
    filters: dict[bool, bytes]  # may_fork -> seccomp program; empty without isolation


def become_job(
    job: Job, fds: list[int], phase: int, scratch: Scratch, isolation: Isolation
) -> NoReturn:
    """Restrict this process and run the program; `phase` is a pipe to the worker.

    `fds` are payload, stdin, stdout, stderr, result and further descriptors.
    """
    try:
        os.setsid()
        payload = marshal.loads(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
        _drop_privileges(scratch, isolation)
        _place(fds[1:], phase)
        _set_limits(job, isolation)
        os.chdir(scratch.path)
        for name, content in payload.get("files", {}).items():
            if "/" in name:
                os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as file:
                file.write(content)
        if payload["mode"] == "exec":
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        else:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.path.insert(0, os.getcwd())
            random.seed()  # otherwise each job would draw the same numbers
            gc.enable()
        if isolation.filters:
            linux.install_filter(with_own_pid(isolation.filters[job.may_fork], os.getpid()))
    except BaseException as error:  # without a phase message the verdict is internal_error
        os.write(2, f"the sandbox could not start the job: {error!r}".encode())
        os._exit(1)
    os.write(_PHASE_FD, PHASE_STARTED)
    run_payload(payload, _PHASE_FD)


def _drop_privileges(scratch: Scratch, isolation: Isolation) -> None:
    """Give up capabilities and all access outside the scratch directory."""
    end_with_parent()
    if isolation.has_namespaces:
        linux.drop_capabilities()
    set_dumpable(True)  # the worker must see the job, and it is not dumpable itself
    with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
        file.write("1000")  # when memory runs out, the kernel kills the job first
    linux.prctl(_NO_NEW_PRIVS, 1)
    if scratch.ruleset is not None:
        linux.restrict_self(scratch.ruleset)


def _place(fds: list[int], phase: int) -> None:
    """Make stdin, stdout, stderr, result, ... 0, 1, 2, 3, ... and close everything else."""
    os.dup2(phase, _PHASE_FD, inheritable=False)
    for number, fd in enumerate(fds):
        os.dup2(fd, _SPARE_FD + number)
    for number in range(len(fds)):
        os.dup2(_SPARE_FD + number, number)
    linux.call("close_range", len(fds), _PHASE_FD - 1, 0)
    linux.call("close_range", _SPARE_FD, 0xFFFFFFFF, 0)


def _set_limits(job: Job, isolation: Isolation) -> None:
    cpu_s = -(-job.cpu_ms // 1000) + 1  # a backstop: the worker measures more finely
    limits = {
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 1,  # 0 still feeds a program that collects core dumps (core(5))
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
