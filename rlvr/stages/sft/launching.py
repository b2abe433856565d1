"""Several ranks on one machine: a process for each, and none is left when one of them ends.

command --starts--> rank 0 (this console)   rank 1, 2, ... (logs/rank_N.log)
   Ctrl-C, SIGTERM --> all ranks: they agree on a step, write a checkpoint and end
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlvr.cluster.process_reaper import no_orphans
from rlvr.cluster.signals import SIGNALS
from rlvr.errors import RLVRError, Stopped
from rlvr.run.run_folder import RunFolder
from rlvr.stages.sft.rank import STOPPED
from rlvr.stages.sft.rank_process import free_port, rank_env
from rlvr.stages.sft.sft_config import SftConfig

__all__ = ["run_ranks"]

Process = subprocess.Popen[bytes]

TICK_S = 0.2
GRACE_S = 60.0  # for the others, once one rank has failed


def run_ranks(config: SftConfig, folder: RunFolder) -> None:
    """Raises RLVRError where a rank fails, and Stopped."""
    port = free_port()
    with no_orphans():
        ranks = [_start(config, folder, rank=i, port=port) for i in range(config.num_ranks)]
        with _forwarding(ranks):
            statuses = _wait(ranks)
    if STOPPED in statuses:
        raise Stopped(_latest_step(folder.checkpoints))
    failed = next((i for i, status in enumerate(statuses) if status), None)
    if failed is not None:
        where = "see above" if failed == 0 else f"see {_log(folder, failed)}"
        raise RLVRError(f"rank {failed} ended with status {statuses[failed]}: {where}")


def _start(config: SftConfig, folder: RunFolder, *, rank: int, port: int) -> Process:
    command = [sys.executable, "-m", "rlvr.stages.sft.rank", str(folder.path), str(rank)]
    env = {**os.environ, **rank_env(config, rank=rank, port=port)}
    if rank == 0:
        return subprocess.Popen(command, env=env, start_new_session=True)
    log = _log(folder, rank)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(command, env=env, start_new_session=True, stdout=file, stderr=file)


def _log(folder: RunFolder, rank: int) -> Path:
    return folder.logs / f"rank_{rank}.log"


@contextmanager
def _forwarding(ranks: list[Process]) -> Iterator[None]:
    """Sessions of their own, so that Ctrl-C does not reach them twice."""

    def forward(number: int, _frame: object) -> None:
        for process in ranks:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(ranks: list[Process]) -> list[int]:
    """Exit statuses; when one rank fails, the others wait in vain and are ended."""
    deadline = None
    while any(process.poll() is None for process in ranks):
        has_failed = any(process.returncode not in (None, 0, STOPPED) for process in ranks)
        if deadline is None and has_failed:
            deadline = time.monotonic() + GRACE_S
            for process in ranks:
                process.terminate()
        if deadline is not None and time.monotonic() > deadline:
            for process in ranks:
                process.kill()
        time.sleep(TICK_S)
    return [process.returncode for process in ranks]


def _latest_step(checkpoints: Path) -> int:
    steps = [int(path.name.rpartition("-")[2]) for path in checkpoints.glob("checkpoint-*")]
    return max(steps, default=0)
