"""Whole runs as a user starts them: `rlvr` in its own process, with its files and processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

RLVR = Path(sys.executable).with_name("rlvr")
MARK = "RLVR_TEST_MARK"  # in the environment of everything that a run starts
START_S = 240.0  # half a minute on a quiet machine


@dataclass(slots=True, kw_only=True)
class Run:
    """One `rlvr grpo` command that was started."""

    process: subprocess.Popen[bytes]
    folder: Path  # of the run
    mark: str
    stdout: Path
    stderr: Path
    tree: dict[int, float]  # process id -> start time, of all descendants ever seen

    @property
    def output(self) -> str:
        """Output on stdout."""
        return self.stdout.read_text(encoding="utf-8")

    @property
    def error_lines(self) -> list[str]:
        """Output on stderr."""
        return self.stderr.read_text(encoding="utf-8").splitlines()

    def wait(self, timeout_s: float = START_S) -> int:
        """The exit status."""
        until = time.monotonic() + timeout_s
        while True:
            self.look_around()
            try:
                return self.process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < until, f"still runs after {timeout_s:.0f} s"

    def wait_for_step(self, step: int, timeout_s: float = START_S) -> None:
        """Wait until metrics.jsonl has this step; fail if the run ends before."""

        self._wait_for(
            lambda: any(line["step"] >= step for line in train_lines(self.folder)),
            timeout_s,
            f"step {step}",
        )

    def wait_for_process(self, sign: str, timeout_s: float = START_S) -> None:
        """Wait until a command line of the run contains `sign`; fail if the run ends before."""
        self._wait_for(lambda: any(sign in line for line in self.alive()), timeout_s, sign)

    def _wait_for(self, is_true: Callable[[], bool], timeout_s: float, what: str) -> None:
        def is_there() -> bool:
            assert self.process.poll() is None, f"ended: {self.error_lines} {self.output[-2000:]}"
            return is_true()

        wait_until(is_there, timeout_s, what)
        self.look_around()

    def look_around(self) -> None:
        """Remember all processes that the run has now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    self.tree[child.pid] = child.create_time()
        for process in _marked(self.mark):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.tree[process.pid] = process.create_time()

    def alive(self) -> list[str]:
        """Command lines of the processes of this run that still run."""
        seen = [_same_process(pid, started) for pid, started in self.tree.items()]
        found = {p.pid: p for p in [*seen, *_marked(self.mark)] if p is not None}
        return [text for process in found.values() if (text := _command_line(process))]

    def end(self) -> None:
        """Clean up after a test."""
        self.look_around()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid, started in self.tree.items():
            process = _same_process(pid, started)
            if process is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                yield process


def _same_process(pid: int, started: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return process if process.create_time() == started else None
    except psutil.NoSuchProcess:
        return None


def _command_line(process: psutil.Process) -> str:
    """Empty for one that has ended."""
    try:
        is_over = process.status() == psutil.STATUS_ZOMBIE
        return "" if is_over else f"{process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.NoSuchProcess:
        return ""


def environment(mark: str) -> dict[str, str]:
    """Without the settings of a cluster that a test may have; with our rewards importable."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "RLVR_"))}
    return {**kept, "PYTHONPATH": str(Path(__file__).parent), MARK: mark}


def write_recipe(recipe: Mapping[str, Any], folder: Path) -> Path:
    """A recipe file."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(dict(recipe)), encoding="utf-8")
    return path


def start(recipe: Mapping[str, Any], folder: Path, *overrides: str) -> Run:
    """`rlvr grpo` with its output in files under `folder`."""
    command = [str(RLVR), "grpo", str(write_recipe(recipe, folder)), *overrides]
    return spawn(command, folder, run_folder=Path(recipe["output_dir"]) / recipe["name"])


def spawn(
    command: Sequence[str],
    folder: Path,
    *,
    run_folder: Path,
    settings: Mapping[str, str] | None = None,
) -> Run:
    """A command in a session of its own, its processes marked; `settings` go to its environment."""
    mark = uuid.uuid4().hex
    stdout, stderr = folder / f"{mark}.out", folder / f"{mark}.err"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment(mark), **(settings or {})},
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    return Run(process=process, folder=run_folder, mark=mark, stdout=stdout, stderr=stderr, tree={})


@contextlib.contextmanager
def running(recipe: Mapping[str, Any], folder: Path, *overrides: str) -> Iterator[Run]:
    """A run that ends with the block."""
    run = start(recipe, folder, *overrides)
    try:
        yield run
    finally:
        run.end()


def wait_until(is_true: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Seconds until it was true; fails after `timeout_s`."""
    started = time.monotonic()
    while not is_true():
        waited_s = time.monotonic() - started
        assert waited_s < timeout_s, f"no {what} within {timeout_s:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - started


def assert_nothing_is_left(run: Run, files_before: set[str], *, within_s: float = 15.0) -> None:
    """No process of the run, and no new file in shared memory that nobody holds."""
    until = time.monotonic() + within_s
    while left := [*run.alive(), *sorted(_orphans(shared_memory() - files_before))]:
        assert time.monotonic() < until, f"{within_s:.0f} s after its end: {left}"
        time.sleep(0.1)


def shared_memory() -> set[str]:
    """Names under /dev/shm."""
    return {entry.name for entry in Path("/dev/shm").iterdir()}


def _orphans(names: set[str]) -> set[str]:
    """Files that no running process has open or mapped; other programs create files too."""
    held = set()
    for process in Path("/proc").glob("[0-9]*") if names else ():
        with contextlib.suppress(OSError):
            held |= {f.resolve().name for f in (process / "fd").iterdir()}
            held |= {line.rpartition("/")[2] for line in (process / "maps").read_text().split("\n")}
    return names - held


def lines(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of metrics.jsonl."""
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def train_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of optimizer steps."""
    return [line for line in lines(folder) if "learner/loss" in line]


def rollouts(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Rows of the training rollouts by step."""
    import pyarrow.parquet as pq

    files = sorted((folder / "rollouts").glob("step_*.parquet"))
    return {int(file.stem.removeprefix("step_")): pq.read_table(file).to_pylist() for file in files}


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of the whole checkpoints."""
    names = [path.parent.name for path in folder.glob("checkpoints/step_*/state.json")]
    return sorted(int(name.removeprefix("step_")) for name in names)
