"""Run each side in a separate process and read its steps.

run_ours   rlvr grpo RECIPE ... into a temporary folder   a step ends with a line of metrics.jsonl
run_trl    python -m bench.trl_side                       a step ends with a line of its file
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.trl_trainer import TrlSettings
from bench.workload import Workload
from rlvr.errors import RLVRError

__all__ = ["MeasuredStep", "OurSettings", "run_ours", "run_trl"]

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 1800.0  # of one process
POLL_S = 0.01  # of the size of metrics.jsonl; a stat takes microseconds
LOG_TAIL = 1500  # characters of a failed process's output in the error


@dataclass(frozen=True, slots=True, kw_only=True)
class OurSettings:
    """The settings of this trainer that do not change its results."""

    max_staleness: int
    num_processes: int  # engines, and as many learner ranks
    num_threads: int  # of each of them

    def overrides(self) -> tuple[str, ...]:
        """Return the overrides for the command line."""
        return (
            f"rollout.max_staleness={self.max_staleness}",
            f"rollout.num_engines={self.num_processes}",
            f"learner.num_ranks={self.num_processes}",
            f"resources.engine_threads={self.num_threads}",
            f"resources.learner_threads={self.num_threads}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """Wall times of one optimizer step, from the end of the previous one."""

    step_s: float
    generate_s: float  # with staleness it overlaps with the learning of the previous step
    learn_s: float
    num_tokens: int  # completion tokens


def run_trl(workload: Workload, settings: TrlSettings, *, num_steps: int) -> list[MeasuredStep]:
    """Run TRL and return all steps. Raises RLVRError if the process fails."""
    order = {
        "name": workload.name,
        "recipe": str(workload.recipe),
        "overrides": workload.overrides,
        "settings": asdict(settings),
        "num_steps": num_steps,
    }
    env = _env(num_threads=settings.num_threads)
    with tempfile.TemporaryDirectory(prefix="bench-trl-") as folder:
        out = Path(folder) / "steps.jsonl"
        command = [sys.executable, "-m", "bench.trl_side", json.dumps(order), str(out)]
        with _running(command, env=env, log=Path(folder) / "log") as process:
            process.wait(DEADLINE_S)
        return [MeasuredStep(**line) for line in _lines(out)]


def run_ours(workload: Workload, settings: OurSettings, *, num_steps: int) -> list[MeasuredStep]:
    """Run this trainer and return all steps. Raises RLVRError if the run fails.

    One more step is run and dropped: no next batch is generated during the last one.
    """
    with tempfile.TemporaryDirectory(prefix="bench-ours-") as folder:
        command = [
            sys.executable,
            "-c",
            "import sys; from rlvr.cli import main; sys.exit(main())",
            "grpo",
            str(workload.recipe),
            *workload.overrides,
            *settings.overrides(),
            "name=run",
            f"output_dir={folder}",
            f"num_steps={num_steps + 1}",
            "eval.tasks=null",
            "checkpoint.every_steps=1000000",
        ]
        metrics = Path(folder) / "run" / "metrics.jsonl"
        with _running(command, env=_env(num_threads=1), log=Path(folder) / "log") as process:
            ends = _ends(process, metrics)
        lines = _lines(metrics)[:-1]
    walls = [None, *(end - start for start, end in pairwise(ends))]
    return [
        MeasuredStep(
            step_s=wall or line["time/step_s"],  # the start of the first one is unknown
            generate_s=line["time/generate_s"],
            learn_s=line["time/learn_s"],
            num_tokens=line["tokens/completion"],
        )
        for line, wall in zip(lines, walls, strict=False)
    ]


def _ends(process: subprocess.Popen[bytes], metrics: Path) -> list[float]:
    """Return the time at which each line of metrics.jsonl appeared."""
    ends: list[float] = []
    size = 0
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
        if metrics.exists() and metrics.stat().st_size != size:
            now = time.monotonic()
            text = metrics.read_bytes()
            size = len(text)
            ends += [now] * (text.count(b"\n") - len(ends))
    return ends


@contextmanager
def _running(
    command: Sequence[str], *, env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that ends with the block. Raises RLVRError if it fails."""
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, env=dict(env), stdout=file, stderr=file) as process,
    ):
        try:
            yield process
        except subprocess.TimeoutExpired:
            process.terminate()
        except BaseException:
            process.terminate()
            raise
        finally:
            try:
                process.wait(60.0)
            except subprocess.TimeoutExpired:
                process.kill()
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
        raise RLVRError(f"{command[:4]} exited with {process.returncode}; its output:\n{tail}")


def _env(*, num_threads: int) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": str(num_threads), "MKL_NUM_THREADS": str(num_threads)}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, **threads, "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
