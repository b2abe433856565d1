"""Run one program in one sandbox: payload and pipes in, RunResult out, on a pool's worker.

Local.build(code, language) --> Program (compiled if the language requires it; cached by content)
Local.execute(program, ...) --> RunResult; repeated on another worker if one was lost
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from sandbox.inside.protocol import FIRST_EXTRA_FD, Job
from sandbox.languages import Language, tool_path
from sandbox.verdicts import Limits, RunResult, SandboxUnavailable, Verdict, result_of
from sandbox.workers import SandboxPool, WorkerLost, WorkerProcess

__all__ = ["Backend", "BuildFailed", "Local", "Program", "text_bytes"]

_RESULT_BYTES: Final = 8 << 20
_GIB = 1 << 30
_MARSHAL_VERSION = 4
_COMPILE_LIMITS: Final = Limits(
    wall_s=20, cpu_s=15, memory_bytes=_GIB, disk_bytes=256 << 20, output_bytes=1 << 16
)
_CACHE_BYTES = 256 << 20
_ALL_PASSED = struct.pack("=I", 15) + b'{"value": true}'
_cache: OrderedDict[str, bytes] = OrderedDict()  # compiled binaries, the least recently used first
_cache_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that a job executes."""

    payload: Mapping[str, Any]  # see sandbox.inside.driver
    binary: bytes | None = None  # passed as a descriptor and executed
    needs_address_space: bool = False
    note_without_forks: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


class Backend(Protocol):
    """The place where programs run: the workers of this machine, or a server."""

    can_call_in_a_row: bool  # many calls of a function in one job

    def build(self, code: str, language: Language, files: Mapping[str, bytes]) -> Program:
        """Raises BuildFailed with the compiler's result, SandboxUnavailable without a compiler."""

    def execute(
        self, program: Program, *, stdin: bytes = b"", limits: Limits, collect: Sequence[str] = ()
    ) -> RunResult:
        """Run a program; never raises for what the program does."""

    def run_tests(self, code: str, tests: Mapping[str, Any], limits: Limits) -> RunResult:
        """Run `tests` {"program", "functions"} in another sandbox than the solution `code`."""


class BuildFailed(Exception):
    """The compiler rejected a program."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result.reason)
        self.result = result

    def as_result(self) -> RunResult:
        """Return the compiler's messages as the result of running the program."""
        if self.result.verdict is Verdict.INTERNAL_ERROR:
            return self.result
        text = self.result.stderr.decode(errors="replace").strip()[:1000]
        reason = text or self.result.reason
        return replace(self.result, verdict=Verdict.COMPILE_ERROR, reason=reason, exit_code=None)


def text_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


class Local:
    """The workers of one tier on this machine."""

    can_call_in_a_row = True

    def __init__(self, pool: SandboxPool) -> None:
        self.pool = pool

    def build(self, code: str, language: Language, files: Mapping[str, bytes]) -> Program:
        if language.tool is None:
            return Program(payload={"mode": "script", "code": code}, files=files)
        tool = tool_path(language)
        with_source = {**files, language.source: text_bytes(code)}
        if language.compile:
            binary = self._compile([part.format(tool) for part in language.compile], with_source)
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
        """Run a program; `may_fork` overrides the tier's rule."""
        if sum(map(len, program.files.values())) > limits.disk_bytes:
            reason = f"source and files are larger than {limits.disk_bytes} bytes"
            return RunResult(verdict=Verdict.COMPILE_ERROR, reason=reason)

        def attempt(workers: Sequence[WorkerProcess]) -> RunResult:
            return _execute_on(
                workers[0], program, stdin=stdin, limits=limits, collect=collect, may_fork=may_fork
            )

        return self._with_retry(attempt)

    def run_tests(self, code: str, tests: Mapping[str, Any], limits: Limits) -> RunResult:
        """Run solution and tests in two sandboxes that exchange calls and values over pipes."""
        solution = Program(payload={"mode": "serve", "code": code})
        names = list(tests["functions"])
        judge = Program(payload={"mode": "judge", "code": tests["program"], "functions": names})

        def attempt(workers: Sequence[WorkerProcess]) -> RunResult:
            requests, answers = os.pipe(), os.pipe()
            pipes = ((requests[0], answers[1]), (answers[0], requests[1]))
            with ThreadPoolExecutor(2) as threads:
                runs = [
                    threads.submit(_execute_on, worker, program, limits=limits, extra=extra)
                    for worker, program, extra in zip(
                        workers, (solution, judge), pipes, strict=True
                    )
                ]
                return _result_of_tests(*(run.result() for run in runs))

        return self._with_retry(attempt, num_workers=2)

    def _with_retry(
        self, attempt: Callable[[Sequence[WorkerProcess]], RunResult], *, num_workers: int = 1
    ) -> RunResult:
        """Make an attempt, and a second one if workers were lost or the job did not start."""
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
        return self._run_control()

    def _run_control(self) -> RunResult:
        """Blame the program if an honest one runs and keeps its worker, else the sandbox."""
        honest = Program(payload={"mode": "script", "code": "print(6 * 7)"})
        try:
            with self.pool.borrow() as [worker]:
                control = _execute_on(worker, honest, limits=Limits())
        except (WorkerLost, SandboxUnavailable) as error:
            return RunResult(verdict=Verdict.INTERNAL_ERROR, reason=str(error))
        if control.stdout != b"42\n":
            return RunResult(verdict=Verdict.INTERNAL_ERROR, reason="an honest program fails too")
        reason = "the program ended two workers, and an honest one did not"
        return RunResult(verdict=Verdict.RUNTIME_ERROR, reason=reason)

    def _compile(self, argv: Sequence[str], files: Mapping[str, bytes]) -> bytes:
        """Return the binary, cached by the command and the content of the files."""
        listed = sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items())
        key = json.dumps([list(argv), listed])
        with _cache_lock:
            if key in _cache:
                _cache.move_to_end(key)
                return _cache[key]
        program = Program(payload={"mode": "exec", "argv": list(argv)}, files=files)
        result = self.execute(program, limits=_COMPILE_LIMITS, collect=["main"], may_fork=True)
        if result.verdict is not Verdict.ACCEPTED or "main" not in result.files:
            raise BuildFailed(result)
        with _cache_lock:
            _cache[key] = result.files["main"]
            while sum(map(len, _cache.values())) > _CACHE_BYTES:
                _cache.popitem(last=False)
        return result.files["main"]


def _execute_on(
    worker: WorkerProcess,
    program: Program,
    *,
    stdin: bytes = b"",
    limits: Limits,
    collect: Sequence[str] = (),
    extra: Sequence[int] = (),
    may_fork: bool | None = None,
) -> RunResult:
    """Run a program once on one worker; `extra` are descriptors for the job, closed here."""
    job = Job(
        wall_ms=max(1, round(limits.wall_s * 1000)),
        cpu_ms=max(1, round(limits.cpu_s * 1000)),
        memory_bytes=limits.memory_bytes,
        address_bytes=0 if program.needs_address_space else limits.memory_bytes + _GIB,
        processes=limits.processes,
        disk_bytes=limits.disk_bytes,
        inodes=limits.inodes,
        may_fork=worker.may_fork if may_fork is None else may_fork,
        collect=tuple(collect),
    )
    payload = {**program.payload, "files": dict(program.files)}
    with contextlib.ExitStack() as stack:
        inputs = []
        for data in (marshal.dumps(payload, _MARSHAL_VERSION), stdin):
            inputs.append(_sealed_file(data))
            stack.callback(os.close, inputs[-1])
        reads, writes = zip(*(os.pipe() for _ in range(3)), strict=True)
        for fd in reads:
            stack.callback(os.close, fd)
        for fd in writes:
            os.fchmod(fd, 0o222)  # a job may open /dev/stdout, but must not read from it
        binary = [] if program.binary is None else [_sealed_file(program.binary)]
        keep_bytes = (limits.output_bytes, limits.output_bytes, _RESULT_BYTES)
        outcome = worker.execute(
            job,
            [*inputs, *writes, *binary, *extra],
            dict(zip(reads, keep_bytes, strict=True)),
            deadline_s=limits.wall_s + limits.grace_s,
        )
    result = result_of(outcome, limits, collect=collect)
    if result.verdict is Verdict.RUNTIME_ERROR and not job.may_fork:
        return replace(result, reason=result.reason + program.note_without_forks)
    return result


def _result_of_tests(solution: RunResult, judge: RunResult) -> RunResult:
    """Return the solution's result with the verdict of the tests."""
    if judge.verdict is Verdict.ACCEPTED and judge.frame == _ALL_PASSED:
        return replace(solution, verdict=Verdict.ACCEPTED, reason="")
    if Verdict.INTERNAL_ERROR in (solution.verdict, judge.verdict):
        return replace(solution, verdict=Verdict.INTERNAL_ERROR, reason=judge.reason)
    if solution.verdict is not Verdict.ACCEPTED:
        return solution
    is_wrong = b"AssertionError" in judge.stderr[-500:]
    verdict = Verdict.WRONG_ANSWER if is_wrong else Verdict.RUNTIME_ERROR
    return replace(solution, verdict=verdict, reason=f"the tests failed: {judge.reason}")


def _sealed_file(data: bytes) -> int:
    """Return a file in memory that cannot be changed: F_SEAL_SEAL | SHRINK | GROW | WRITE."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0xF)
    return fd
