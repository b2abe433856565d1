"""Run attacks and honest programs in a tier and check the state of the machine afterwards.

    python attempts.py namespaces landlock     all of both tables, without pytest
    python attempts.py --quick landlock        without those that wait or compile

Targets of the attacks are a process, a file and sockets. They must be unchanged after each attack.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2])]

from attacks import ATTACKS, FLAG, Attack
from honest import HONEST, Honest

from sandbox import Judgement, Limits, RunResult, SandboxUnavailable, Verdict
from sandbox.jobs import BuildFailed, Local
from sandbox.judging import judge
from sandbox.languages import language_named
from sandbox.tiers import probe

__all__ = ["Targets", "is_slow", "missing_tool", "targets", "try_attack", "try_honest"]

SLOW_FAMILIES = ("bombs", "hanging", "compiling")
_LATE_S = 5.0  # for a busy machine; a hanging attack never ends
_COMPARING_S = 6.0  # CPU time: the comparer runs in this process
_BUSY = 5  # wall time may be this many times longer on a busy machine
_COMPILING_S = 15.0
_FOLLOW_UP = """
import os
here = set(os.listdir('.')) | set(os.listdir('/tmp') if os.getcwd() == '/tmp' else [])
print(len(here), os.listxattr('.') if os.getcwd() == '/tmp' else [], oct(os.stat('.').st_mode))
"""


class Targets:
    """Something of each kind that a program must not reach."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.chmod(folder, 0o777)
        self.file = Path(folder, "secret")
        self.file.write_text(FLAG)
        self.file.chmod(0o666)
        self._victim = subprocess.Popen(
            ["sleep", "600"], env={"CANARY": FLAG, "PATH": "/bin:/usr/bin"}
        )
        self._sockets = {
            "tcp": _bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix": _bound(socket.AF_UNIX, socket.SOCK_STREAM, f"{folder}/unix"),
            "datagram": _bound(socket.AF_UNIX, socket.SOCK_DGRAM, f"{folder}/datagram"),
            "abstract": _bound(socket.AF_UNIX, socket.SOCK_STREAM, _abstract()),
            "abstract_datagram": _bound(socket.AF_UNIX, socket.SOCK_DGRAM, _abstract()),
        }
        self._before = self._state()

    def as_json(self) -> bytes:
        aims: dict[str, Any] = {
            "pid": self._victim.pid,
            "supervisor": os.getpid(),
            "file": str(self.file),
            "folder": self.folder,
            "key": 0x5EC2E7,
        }
        for name, bound in self._sockets.items():
            address = bound.getsockname()
            if isinstance(address, tuple):
                aims[name] = address[1]
            else:
                aims[name] = address.decode()[1:] if isinstance(address, bytes) else address
        return json.dumps(aims).encode()

    def assert_untouched(self) -> None:
        assert self._victim.poll() is None, "the victim is dead"
        assert self._state() == self._before
        for name, bound in self._sockets.items():
            with contextlib.suppress(BlockingIOError):
                got = bound.accept() if bound.type == socket.SOCK_STREAM else bound.recv(100)
                raise AssertionError(f"{name} heard {got!r}")

    def close(self) -> None:
        self._victim.kill()
        self._victim.wait()
        for bound in self._sockets.values():
            bound.close()

    def _state(self) -> dict[str, Any]:
        seen = os.stat(self.file)
        return {
            "file": (self.file.read_text(), seen.st_mode, seen.st_mtime_ns, seen.st_nlink),
            "folder": sorted(os.listdir(self.folder)),
            "folder mode": os.stat(self.folder).st_mode,
            **{str(pid): _standing(pid) for pid in (self._victim.pid, os.getpid())},
        }


def _standing(pid: int) -> tuple[Any, ...]:
    """Return the properties of a process that others could change."""
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return (
        status == "T",
        os.getpriority(os.PRIO_PROCESS, pid),
        os.sched_getaffinity(pid),
        os.sched_getscheduler(pid),
        *(resource.prlimit(pid, limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS)),
    )


def _bound(family: int, kind: int, address: Any) -> socket.socket:
    bound = socket.socket(family, kind)
    bound.bind(address)
    if isinstance(address, str) and address[0] == "/":
        os.chmod(address, 0o777)
    if kind == socket.SOCK_STREAM:
        bound.listen()
    bound.setblocking(False)
    return bound


def _abstract() -> str:
    return "\0" + secrets.token_hex(8)


@contextlib.contextmanager
def targets() -> Iterator[Targets]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a job has a /tmp of its own
        made = Targets(folder)
        try:
            yield made
        finally:
            made.close()


def missing_tool(language: str) -> str | None:
    """Return the missing tool of a language, or None."""
    tool = language_named(language).tool
    return None if tool is None or shutil.which(tool) else tool


def try_attack(backend: Local, attack: Attack, aims: Targets) -> None:
    """Raise AssertionError if the attack has any effect."""
    if attack.before is not None:
        _run(backend, attack.before, stdin=FLAG.encode(), limits=attack.limits)
    start, start_cpu = time.monotonic(), time.process_time()
    outcome = _outcome(backend, attack, aims)
    took_s, computed_s = time.monotonic() - start, time.process_time() - start_cpu
    said = _said(outcome)
    assert outcome.verdict in attack.right, (outcome.verdict, outcome.reason, said[-1000:])
    assert b"REACHED" not in said, said[-2000:]
    if isinstance(outcome, RunResult):
        assert len(outcome.stdout) <= attack.limits.output_bytes
        assert sum(map(len, outcome.files.values())) <= attack.limits.disk_bytes
        assert all(FLAG.encode() not in content for content in outcome.files.values())
    allowed_s = attack.limits.wall_s + attack.limits.grace_s + _LATE_S
    allowed_s += _BUSY * _COMPARING_S if attack.family == "comparer" else 0
    allowed_s += _COMPILING_S if attack.language in ("c", "cpp") else 0
    assert took_s <= allowed_s, f"{took_s:.2f} s where {allowed_s:.2f} s are allowed"
    assert computed_s <= _COMPARING_S, f"{computed_s:.2f} s of CPU time in this process"
    assert_nothing_left(backend)
    aims.assert_untouched()


def assert_nothing_left(backend: Local) -> None:
    """Assert that no process and no file of earlier jobs remains and that the pool still works."""
    for worker in backend.pool._idle:
        assert _survivors(worker._process.pid) == []
        assert not worker._folder or os.listdir(worker._folder) == []
    after = _run(backend, _FOLLOW_UP)
    assert (after.verdict, after.stdout) == (Verdict.ACCEPTED, b"0 [] 0o40700\n"), after
    judged = judge("print(int(input()) * 2)", [{"input": "21", "output": "42"}], backend=backend)
    assert judged.verdict is Verdict.ACCEPTED, judged


def try_honest(backend: Local, program: Honest, *, tier: str) -> None:
    """Raise AssertionError if an honest program does not get its verdict."""
    if program.cases:
        outcome: RunResult | Judgement = judge(
            program.code,
            program.cases,
            function=program.function,
            language=program.language,
            compare=program.compare,
            limits=program.limits,
            backend=backend,
        )
    else:
        outcome = _run(
            backend,
            program.code,
            language=program.language,
            stdin=program.stdin,
            limits=program.limits,
        )
    right = program.right if tier == "namespaces" else program.right_in_landlock or program.right
    assert outcome.verdict is right, (outcome.verdict, outcome.reason, _said(outcome)[-1000:])


def _outcome(backend: Local, attack: Attack, aims: Targets) -> RunResult | Judgement:
    if attack.cases:
        return judge(
            attack.code,
            attack.cases,
            function=attack.function,
            language=attack.language,
            compare=attack.compare,
            limits=attack.limits,
            backend=backend,
        )
    return _run(
        backend,
        attack.code,
        language=attack.language,
        stdin=aims.as_json() if attack.stdin is None else attack.stdin,
        limits=attack.limits,
        collect=attack.collect,
    )


def _run(
    backend: Local,
    code: str,
    *,
    language: str = "python",
    stdin: bytes = b"",
    limits: Limits = Limits(),  # noqa: B008  # frozen
    collect: tuple[str, ...] = (),
) -> RunResult:
    try:
        program = backend.build(code, language_named(language), {})
    except BuildFailed as failed:
        return failed.as_result()
    return backend.execute(program, stdin=stdin, limits=limits, collect=collect)


def _said(outcome: RunResult | Judgement) -> bytes:
    runs = outcome.cases if isinstance(outcome, Judgement) else (outcome,)
    return b"".join(run.stdout + run.stderr for run in runs)


def _survivors(guardian: int) -> list[int]:
    """Return the processes below a guardian's worker."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(name))
    waiting = [child for worker in children.get(guardian, []) for child in children.get(worker, [])]
    found: list[int] = []
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def is_slow(tried: Attack | Honest) -> bool:
    """Whether it waits or compiles."""
    waits = tried.family in SLOW_FAMILIES if isinstance(tried, Attack) else tried.is_slow
    return waits or tried.language != "python"


def _main(arguments: list[str]) -> int:
    is_quick = "--quick" in arguments
    failures = 0
    for name in (argument for argument in arguments if argument != "--quick"):
        try:
            tier = probe(name)
        except SandboxUnavailable as error:
            print(f"{name}: unavailable: {error}")
            failures += 1
            continue
        with targets() as aims, contextlib.closing(tier):
            failures += _try_all(tier.backend, name, aims, is_quick=is_quick)
    return 1 if failures else 0


def _try_all(backend: Any, tier: str, aims: Targets, *, is_quick: bool) -> int:
    tries: list[tuple[str, Any]] = []
    for attack in ATTACKS:
        is_tried = tier in attack.tiers and not missing_tool(attack.language)
        if is_tried and not (is_quick and is_slow(attack)):
            tries.append((attack.name, lambda a=attack: try_attack(backend, a, aims)))
    for program in HONEST:
        if not (is_quick and is_slow(program)) and not missing_tool(program.language):
            tries.append((program.name, lambda p=program: try_honest(backend, p, tier=tier)))
    failures = 0
    for name, action in tries:
        try:
            action()
        except Exception as error:
            failures += 1
            print(f"{tier} {name}: {type(error).__name__}: {error!s:.1000}", flush=True)
    print(f"{tier}: {len(tries)} tried as user {os.getuid()}, {failures} failed", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
