"""One program in one sandbox: payload and pipes in, RunResult out, on a pool's worker.

Local.build(code, language) --> Program (compiled where the language wants it; cached by content)
Local.execute(program, ...) --> RunResult, and again on a fresh worker where one was lost
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import marshal
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from sandbox.facts import read_facts
from sandbox.inside.protocol import FIRST_EXTRA_FD, Job
from sandbox.languages import Language, tool_path
from sandbox.verdicts import Limits, RunResult, SandboxUnavailable, Verdict
from sandbox.workers import Outcome, Pool, Streams, Worker, WorkerLost

__all__ = ["Backend", "BuildFailed", "Local", "Program", "text_bytes"]

RESULT_BYTES: Final = 8 << 20
_GIB = 1 << 30
_MARSHAL_VERSION = 4
_COMPILE_LIMITS: Final = Limits(
    wall_s=20, cpu_s=15, memory_bytes=_GIB, disk_bytes=256 << 20, output_bytes=1 << 16
)
_CACHE_BYTES = 256 << 20
_ALL_HELD = struct.pack("=I", 15) + b'{"value": true}'
_LOST = "the program ended two workers, and an honest one did not"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a job executes."""

    payload: Mapping[str, Any]
    binary: bytes | None = None  # passed as descriptor and executed
    needs_address_space: bool = False
    note_without_forks: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


class Backend(Protocol):
    """Where programs run: this machine's workers, or a server's."""

    can_call_in_a_row: bool  # knows the payload of mode "calls"

    def build(self, code: str, language: Language, files: Mapping[str, bytes]) -> Program:
        """Raises BuildFailed with the compiler's result, SandboxUnavailable without a compiler."""

    def execute(
        self,
        program: Program,
        *,
        stdin: bytes = b"",
        limits: Limits,
        collect: Sequence[str] = (),
    ) -> RunResult:
        """Never raises for what the program does."""

    def run_tests(self, code: str, tests: Mapping[str, Any], limits: Limits) -> RunResult:
        """`tests` {"program", "functions"} away from the solution that they call."""


class BuildFailed(Exception):
    """The compiler's verdict on a program."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result.reason)
        self.result = result

    def as_result(self) -> RunResult:
        """What the compiler said, as the result of the program's run."""
        if self.result.verdict is Verdict.INTERNAL_ERROR:
            return self.result
        said = self.result.stderr.decode(errors="replace").strip()[:1000]
        reason = said or self.result.reason
        return replace(self.result, verdict=Verdict.COMPILE_ERROR, reason=reason, exit_code=None)


def text_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


class Local:
    """The workers of one tier on this machine."""

    can_call_in_a_row = True

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def build(self, code: str, language: Language, files: Mapping[str, bytes]) -> Program:
        if language.tool is None:
            return Program(payload={"mode": "script", "code": code}, files=files)
        tool = tool_path(language)
        with_source = {**files, language.source: text_bytes(code)}
        if language.compile:
            binary = self._compiled([part.format(tool) for part in language.compile], with_source)
            payload = {"mode": "exec", "argv": ["./main"], "fd": FIRST_EXTRA_FD}
            return Program(payload=payload, binary=binary, files=files)
        return Program(
            payload={"mode": "exec", "argv": [part.format(tool) for part in language.run]},
            files=with_source,
            needs_address_space=language.needs_address_space,
            note_without_forks=language.note_without_forks,
        )

    def execute(
        self,
        program: Program,
        *,
        stdin: bytes = b"",
        limits: Limits,
        collect: Sequence[str] = (),
        may_fork: bool | None = None,
    ) -> RunResult:
        if sum(map(len, program.files.values())) > limits.disk_bytes:
            reason = f"source and files are larger than {limits.disk_bytes} bytes"
            return RunResult(verdict=Verdict.COMPILE_ERROR, reason=reason)

        def attempt(workers: Sequence[Worker]) -> RunResult:
            return _execute_on(
                workers[0], program, stdin=stdin, limits=limits, collect=collect, may_fork=may_fork
            )

        return self._surely(attempt)

    def run_tests(self, code: str, tests: Mapping[str, Any], limits: Limits) -> RunResult:
        """Two sandboxes, calls and values between them by pipes."""
        solution = Program(payload={"mode": "serve", "code": code})
        names = list(tests["functions"])
        judge = Program(payload={"mode": "judge", "code": tests["program"], "functions": names})

        def attempt(workers: Sequence[Worker]) -> RunResult:
            return _of_both(*_execute_both(workers, (solution, judge), limits))

        return self._surely(attempt, num_workers=2)

    def _surely(
        self, attempt: Callable[[Sequence[Worker]], RunResult], *, num_workers: int = 1
    ) -> RunResult:
        """What an attempt says, on other workers where the first were lost or could not begin."""
        for _ in range(2):
            try:
                with self.pool.borrow(num_workers) as workers:
                    result = attempt(workers)
            except WorkerLost:
                continue
            except SandboxUnavailable as error:
                return RunResult(verdict=Verdict.INTERNAL_ERROR, reason=str(error))
            if result.verdict is not Verdict.INTERNAL_ERROR:
                return result
        return self._blame()

    def _blame(self) -> RunResult:
        """Its fault where an honest program keeps its worker and runs, ours where it does not."""
        honest = Program(payload={"mode": "script", "code": "print(6 * 7)"})
        try:
            with self.pool.borrow() as [worker]:
                control = _execute_on(worker, honest, limits=Limits())
        except (WorkerLost, SandboxUnavailable) as error:
            return RunResult(verdict=Verdict.INTERNAL_ERROR, reason=str(error))
        if control.stdout != b"42\n":
            return RunResult(verdict=Verdict.INTERNAL_ERROR, reason="an honest program fails too")
        return RunResult(verdict=Verdict.RUNTIME_ERROR, reason=_LOST)

    def _compiled(self, argv: Sequence[str], files: Mapping[str, bytes]) -> bytes:
        """A binary, kept by the content that it came from; one compiler at a time for each."""
        listed = sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items())
        key = json.dumps([list(argv), listed])
        if (binary := _cache.get(key)) is not None:
            return binary
        program = Program(payload={"mode": "exec", "argv": list(argv)}, files=files)
        result = self.execute(program, limits=_COMPILE_LIMITS, collect=["main"], may_fork=True)
        if result.verdict is not Verdict.ACCEPTED or "main" not in result.files:
            raise BuildFailed(result)
        _cache.put(key, result.files["main"])
        return result.files["main"]


def _execute_on(
    worker: Worker,
    program: Program,
    *,
    stdin: bytes = b"",
    limits: Limits,
    collect: Sequence[str] = (),
    extra: Sequence[int] = (),
    may_fork: bool | None = None,
) -> RunResult:
    """On one worker, once; `extra` are descriptors for the job, closed here.

    Raises:
        WorkerLost: the worker ended while the job ran.
    """
    job = _job(program, limits, collect, worker.may_fork if may_fork is None else may_fork)
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(_memory_file(data)) for data in (_payload(program), stdin)]
        reads, writes = zip(*(os.pipe() for _ in range(3)), strict=True)
        for fd in reads:
            stack.callback(os.close, fd)
        for fd in writes:
            os.fchmod(fd, 0o222)  # a job may open /dev/stdout, and nobody may read from there
        binary = [] if program.binary is None else [_sealed(program.binary)]
        streams = Streams(
            fds=reads, keep_bytes=[limits.output_bytes, limits.output_bytes, RESULT_BYTES]
        )
        outcome = worker.execute(
            job,
            [*fds, *writes, *binary, *extra],
            streams,
            deadline_s=limits.wall_s + limits.grace_s,
        )
    result = _result(outcome, limits, collect)
    if result.verdict is Verdict.RUNTIME_ERROR and not job.may_fork:
        return replace(result, reason=result.reason + program.note_without_forks)
    return result


def _execute_both(
    workers: Sequence[Worker], programs: tuple[Program, Program], limits: Limits
) -> tuple[RunResult, RunResult]:
    """Solution and judge at once, the one's answers being the other's input."""
    requests, answers = os.pipe(), os.pipe()
    extras = ((requests[0], answers[1]), (answers[0], requests[1]))
    with ThreadPoolExecutor(2) as threads:
        solution, judge = (
            threads.submit(_execute_on, worker, program, limits=limits, extra=extra)
            for worker, program, extra in zip(workers, programs, extras, strict=True)
        )
        return solution.result(), judge.result()


def _of_both(solution: RunResult, judge: RunResult) -> RunResult:
    """The solution's result with the verdict of the tests."""
    if judge.verdict is Verdict.ACCEPTED and judge.frame == _ALL_HELD:
        return replace(solution, verdict=Verdict.ACCEPTED, reason="")
    if Verdict.INTERNAL_ERROR in (solution.verdict, judge.verdict):
        return replace(solution, verdict=Verdict.INTERNAL_ERROR, reason=judge.reason)
    if solution.verdict is not Verdict.ACCEPTED:
        return solution
    is_wrong = b"AssertionError" in judge.stderr[-500:]
    verdict = Verdict.WRONG_ANSWER if is_wrong else Verdict.RUNTIME_ERROR
    return replace(solution, verdict=verdict, reason=f"the tests say: {judge.reason}")


def _job(program: Program, limits: Limits, collect: Sequence[str], may_fork: bool) -> Job:
    return Job(
        wall_ms=max(1, round(limits.wall_s * 1000)),
        cpu_ms=max(1, round(limits.cpu_s * 1000)),
        memory_bytes=limits.memory_bytes,
        address_bytes=0 if program.needs_address_space else limits.memory_bytes + _GIB,
        processes=limits.processes,
        disk_bytes=limits.disk_bytes,
        inodes=limits.inodes,
        may_fork=may_fork,
        collect=tuple(collect),
    )


def _payload(program: Program) -> bytes:
    """Read by `marshal` in the job: quick, and it comes from us."""
    return marshal.dumps({**program.payload, "files": dict(program.files)}, _MARSHAL_VERSION)


def _result(outcome: Outcome, limits: Limits, collect: Sequence[str]) -> RunResult:
    verdict, reason = read_facts(outcome, limits)
    done = outcome.done
    return RunResult(
        verdict=verdict,
        reason=reason,
        stdout=bytes(outcome.kept[0]),
        stderr=bytes(outcome.kept[1]),
        exit_code=None if done is None else os.waitstatus_to_exitcode(done.wait_status),
        wall_s=limits.wall_s + limits.grace_s if done is None else done.wall_us / 1e6,
        cpu_s=0.0 if done is None else done.cpu_us / 1e6,
        peak_memory_bytes=0 if done is None else done.peak_bytes,
        files=_files(outcome, limits, collect),
        frame=bytes(outcome.kept[2]),
    )


def _files(outcome: Outcome, limits: Limits, collect: Sequence[str]) -> dict[str, bytes]:
    """What the descriptors hold, each at most `disk_bytes`, all together as well."""
    names = [
        name for i, name in enumerate(collect) if outcome.done and outcome.done.collected >> i & 1
    ]
    left, files = limits.disk_bytes, {}
    for name, fd in zip(names, outcome.files, strict=False):
        files[name] = os.pread(fd, left, 0)
        left -= len(files[name])
        os.close(fd)
    return files


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[int]:
    fd = _sealed(data)
    try:
        yield fd
    finally:
        os.close(fd)


def _sealed(data: bytes) -> int:
    """A file in memory that nobody can change: F_SEAL_SEAL | SHRINK | GROW | WRITE."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0xF)
    return fd


class _Cache:
    """Binaries by the content they came from, the least recently used given up first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, binary: bytes) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = binary
                self._size += len(binary)
            while self._size > _CACHE_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])


_cache = _Cache()
