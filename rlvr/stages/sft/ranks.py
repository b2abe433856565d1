"""The processes of a run: one rank in this process, or one process for each of several ranks.

command --starts--> rank 0 (this console)   rank 1, 2, ... (logs/rank_N.log)
   Ctrl-C, SIGTERM --> all ranks: they agree on a step, write a checkpoint and end

Program of a rank: python -m rlvr.stages.sft.ranks RUN_FOLDER RANK
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rlvr.cluster.process_reaper import no_orphans
from rlvr.cluster.processes import actor_env, free_port
from rlvr.cluster.signals import SIGNALS
from rlvr.config import load_config
from rlvr.errors import RLVRError, Stopped
from rlvr.run.run_folder import RunFolder
from rlvr.stages.sft.sft_config import SftConfig
from rlvr.stages.sft.sft_plan import SftPlan, make_plan

__all__ = ["has_gpu", "rank_env", "run_ranks", "signals_handled_by", "training_process"]

Process = subprocess.Popen[bytes]

STOPPED = 3  # exit status of a rank that stopped after a checkpoint
TICK_S = 0.2
GRACE_S = 60.0  # for the other ranks, once one has failed


def run_ranks(plan: SftPlan, folder: RunFolder) -> None:
    """Train with all ranks. Raises RLVRError if one fails, or Stopped after a signal."""
    if plan.num_ranks == 1:
        _train(plan, folder, rank=0, env=rank_env(plan, rank=0, port=free_port()))
        return
    port = free_port()
    with no_orphans():
        ranks = [_start(plan, folder, rank=rank, port=port) for rank in range(plan.num_ranks)]

        def forward(_number: int, _frame: object) -> None:
            for process in ranks:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)

        with signals_handled_by(forward):
            statuses = _wait(ranks)
    if STOPPED in statuses:
        names = [path.name for path in folder.checkpoints.glob("checkpoint-*")]
        raise Stopped(max((int(name.rpartition("-")[2]) for name in names), default=0))
    for rank, status in enumerate(statuses):
        if status:
            where = "see above" if rank == 0 else f"see {_log(folder, rank)}"
            raise RLVRError(f"rank {rank} ended with status {status}: {where}")


def has_gpu() -> bool:
    """Return whether the machine has an NVIDIA GPU, without importing torch."""
    return shutil.which("nvidia-smi") is not None


def rank_env(plan: SftPlan, *, rank: int, port: int) -> dict[str, str]:
    """Return the environment of one rank; one process without DeepSpeed is no rank."""
    env = actor_env(num_threads=plan.threads, is_cpu=plan.is_cpu)
    env |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    if not plan.is_cpu and plan.num_ranks == 1:
        env["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if plan.num_ranks > 1 or plan.config.deepspeed.zero_stage is not None:
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        env |= dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
        env |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(plan.num_ranks))
    return env


@contextmanager
def signals_handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM with `handler` in the block."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old_handler in before.items():
            signal.signal(number, old_handler)


@contextmanager
def training_process(env: Mapping[str, str]) -> Iterator[None]:
    """Train in this process under `env`, which torch reads when it is first imported.

    Afterwards environment, ranks and devices are reset, for the next stage of a pipeline.
    """
    before = dict(os.environ)
    os.environ.update(env)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        import torch.distributed as dist
        from accelerate.state import (  # type: ignore[import-untyped, unused-ignore]
            AcceleratorState,
            GradientState,
        )

        if dist.is_initialized():
            dist.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        os.environ.clear()
        os.environ.update(before)


def _train(plan: SftPlan, folder: RunFolder, *, rank: int, env: Mapping[str, str]) -> None:
    with training_process(env):
        if plan.config.head == "scalar":
            from rlvr.stages.sft.reward_model import train_reward_model

            train_reward_model(plan, folder, rank=rank)
        else:
            from rlvr.stages.sft.training import train_language_model

            train_language_model(plan, folder, rank=rank)


def _start(plan: SftPlan, folder: RunFolder, *, rank: int, port: int) -> Process:
    """Start a rank in a session of its own, so that it gets Ctrl-C once, from `run_ranks`."""
    command = [sys.executable, "-m", "rlvr.stages.sft.ranks", str(folder.path), str(rank)]
    env = {**os.environ, **rank_env(plan, rank=rank, port=port)}
    if rank == 0:
        return subprocess.Popen(command, env=env, start_new_session=True)
    log = _log(folder, rank)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(command, env=env, start_new_session=True, stdout=file, stderr=file)


def _log(folder: RunFolder, rank: int) -> Path:
    return folder.logs / f"rank_{rank}.log"


def _wait(ranks: list[Process]) -> list[int]:
    """Wait for the exit statuses; when one rank fails, end the others, which wait for it."""
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


def _main(path: str, rank: str) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    folder = RunFolder(Path(path))
    try:
        plan = make_plan(load_config(SftConfig, folder.config), is_cpu=not has_gpu())
        _train(plan, folder, rank=int(rank), env=dict(os.environ))
    except Stopped:
        return STOPPED
    except RLVRError as error:
        print(f"rlvr: {error}", file=sys.stderr, flush=True)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
