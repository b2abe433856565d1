"""The worker process: enter the isolation once, then fork a job for each request.

start: {"tier", "channel", "folder"} as argv[1] --> enter --> READY
then:  JOB --> fork --> watch --> kill leftovers --> collect --> clear --> DONE, repeatedly

supervisor --SIGTERM--> guardian --SIGKILL--> worker (process 1 of its namespace, or a subreaper)
                            | waits, then kills and reaps the remaining processes
                            v exits: the supervisor's wait() returns when no process is left

The worker starts with an empty environment and holds no data of any job: neither code nor output
passes through it. It imports common modules first, so that jobs start warm.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from sandbox.inside import entering, linux
from sandbox.inside.job import Isolation, become_job
from sandbox.inside.protocol import Done, Job, Kind, receive
from sandbox.inside.scratch import PrivateMount, Scratch, WatchedFolder, remove_folder
from sandbox.inside.seccomp import filter_for
from sandbox.inside.syscalls import AUDIT_ARCH
from sandbox.inside.watch import Watch, descendants

__all__ = ["main"]

_PRELOADED = """
bisect collections collections.abc copy functools heapq itertools math operator random re string
traceback typing
"""  # more modules would cost every job more than they save the jobs that import them
_READABLE = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_SET_CHILD_SUBREAPER = 36
_OPEN_BENEATH = 0x04 | 0x08 | 0x02  # RESOLVE_NO_SYMLINKS | BENEATH | NO_MAGICLINKS


def main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 ignores signals without a handler
    settings = json.loads(sys.argv[1])
    channel = socket.socket(fileno=settings["channel"])
    try:
        server = JobServer(channel, settings)
    except Exception as error:  # report any error to the supervisor
        channel.send(bytes([Kind.FAILED]) + str(error).encode())
        os._exit(1)
    channel.send(bytes([Kind.READY]) + json.dumps(server.description).encode())
    with suppress(EOFError):
        server.serve()
    os._exit(0)


class JobServer:
    """The isolation and the loop over jobs."""

    def __init__(self, channel: socket.socket, settings: dict[str, Any]) -> None:
        for name in _PRELOADED.split():
            importlib.import_module(name)
        if not AUDIT_ARCH:
            raise RuntimeError("the system call numbers of this processor are not known")
        tier = settings["tier"]
        prefix = os.open(sys.base_prefix, os.O_PATH | os.O_CLOEXEC)
        os.umask(0o077)
        has_own_user = entering.become_unprivileged(settings["folder"])
        self.channel = channel
        self.scratch = _enter(tier, settings["folder"], prefix)
        os.close(prefix)
        os.environ.update(HOME=self.scratch.path, TMPDIR=self.scratch.path)
        entering.set_dumpable(False)  # jobs of the same user must not inspect this process
        is_shared = tier != "namespaces"
        self.isolation = Isolation(
            has_namespaces=not is_shared,
            has_own_user=has_own_user or not is_shared,
            filters={
                may_fork: filter_for(is_shared=is_shared, may_fork=may_fork)
                for may_fork in (False, True)
                if tier != "unsafe"
            },
        )
        self.description = {"landlock_abi": linux.landlock_abi(), "uid": os.getuid()}
        gc.collect()
        gc.freeze()
        gc.disable()

    def serve(self) -> None:
        """Run jobs; raises EOFError when the supervisor has ended."""
        while True:
            message, fds = receive(self.channel)
            if not message:
                raise EOFError
            if message[0] == Kind.JOB:
                done, collected = self._run(Job.unpack(message), fds)
                try:
                    socket.send_fds(self.channel, [done.pack()], collected)
                except (BrokenPipeError, ConnectionResetError) as error:
                    raise EOFError from error
                _close(collected)

    def _run(self, job: Job, fds: list[int]) -> tuple[Done, list[int]]:
        self.scratch.prepare(job)
        has_namespaces = self.isolation.has_namespaces
        watch = Watch(self.channel.fileno(), self.scratch, has_namespaces=has_namespaces)
        start = time.monotonic()
        phases, phase = os.pipe()
        pid = linux.fork()
        if pid == 0:
            become_job(job, fds, phase, self.scratch, self.isolation)
        _close([*fds, phase])
        cause = watch.wait(job, pid)
        wall_us = int((time.monotonic() - start) * 1e6)
        _, status, usage = os.wait4(pid, 0)
        cpu_us = max(_cpu_us(usage) + self._end_all(), sum(watch.cpu_us.values()))
        collected, mask = _collect(self.scratch.path, job.collect)
        self.scratch.clear()
        done = Done(
            wait_status=status,
            cause=cause,
            num_phases=len(os.read(phases, 2)),
            wall_us=wall_us,
            cpu_us=cpu_us,
            peak_bytes=max(usage.ru_maxrss * 1024, watch.peak_bytes),
            collected=mask,
        )
        os.close(phases)
        return done, collected

    def _end_all(self) -> int:
        """Kill and reap the remaining processes of the job; return their CPU time in us."""
        cpu_us, options = 0, os.WNOHANG  # most jobs leave none
        while True:
            try:
                cpu_us += _cpu_us(os.wait4(-1, options)[2])
            except ChildProcessError:
                return cpu_us
            options = 0
            if self.isolation.has_namespaces:
                with suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
            else:
                _kill_descendants()


def _enter(tier: str, folder: str, prefix: int) -> Scratch:
    """Enter a tier's isolation; `prefix` is the interpreter's folder."""
    if tier == "namespaces":
        entering.enter_namespaces(prefix)
        _become_guarded()
        entering.change_root()
        return PrivateMount()
    if tier not in ("landlock", "unsafe"):
        raise ValueError(f"no tier is named {tier!r}")
    if tier == "landlock" and not linux.landlock_abi():
        raise RuntimeError("this kernel has no Landlock (it came with 5.13)")
    _become_guarded(folder)
    entering.keep_interpreter(prefix)
    if tier == "unsafe":
        return WatchedFolder(folder, None)
    return WatchedFolder(folder, linux.make_ruleset(read=[*_READABLE, prefix], write=folder))


def _become_guarded(folder: str | None = None) -> None:
    """Fork and return in the child; this process becomes its guardian, which removes `folder`."""
    linux.prctl(_SET_CHILD_SUBREAPER, 1)
    parent = os.getpid()
    worker = os.fork()
    if worker == 0:
        entering.end_with_parent()
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
    with suppress(ChildProcessError):
        while True:
            _kill_descendants()
            os.wait()
    if folder is not None:
        with suppress(OSError):
            remove_folder(folder)
    os._exit(0)


def _kill_descendants() -> None:
    for pid in descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _cpu_us(usage: resource.struct_rusage) -> int:
    return int((usage.ru_utime + usage.ru_stime) * 1e6)


def _collect(folder: str, names: Sequence[str]) -> tuple[list[int], int]:
    """Return descriptors of the regular files among `names`, and a bit for each that exists."""
    found: list[int] = []
    mask = 0
    if not names:
        return [], 0
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    how = b"".join(value.to_bytes(8, sys.byteorder) for value in (flags, 0, _OPEN_BENEATH))
    base = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    for number, name in enumerate(names):
        with suppress(OSError):
            fd = linux.call("openat2", base, name.encode("utf-8", "surrogateescape"), how, len(how))
            if os.path.isfile(fd):
                found.append(fd)
                mask |= 1 << number
            else:
                os.close(fd)
    os.close(base)
    return found, mask


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
